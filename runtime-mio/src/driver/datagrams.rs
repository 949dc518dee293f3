//! Datagrams: received in bounded numbers, sent in batches.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};
use tautline_core::{Endpoint, Input, Instant};

use super::Driver;
use super::statistics::Statistics;

/// Datagrams of one system call.
const BATCH: usize = 32;

/// The sockets for datagrams, each with what waits to be sent.
#[derive(Default)]
pub(super) struct Datagrams {
    sockets: Vec<Line>,
}

struct Line {
    socket: UdpSocket,
    ipv6: bool,
    readable: bool,
    writable: bool,
    queue: Queue,
}

/// Datagrams that wait, one behind another in one buffer.
#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Destination, and where its payload ends in `bytes`.
    targets: Vec<(SocketAddr, usize)>,
    sent: usize,
}

impl Datagrams {
    /// Binds the addresses; socket `n` gets the token `token(n)`.
    pub(super) fn bind(
        addresses: &[SocketAddr],
        registry: &Registry,
        token: impl Fn(usize) -> Token,
    ) -> Result<Self, (SocketAddr, io::Error)> {
        let mut datagrams = Self::default();
        for (number, &address) in addresses.iter().enumerate() {
            let socket = bind(address)
                .and_then(|mut socket| {
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    registry.register(&mut socket, token(number), interest)?;
                    Ok(socket)
                })
                .map_err(|error| (address, error))?;
            datagrams.sockets.push(Line {
                socket,
                ipv6: address.is_ipv6(),
                readable: true,
                writable: true,
                queue: Queue::default(),
            });
        }
        Ok(datagrams)
    }

    pub(super) fn local_addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets
            .iter()
            .filter_map(|line| line.socket.local_addr().ok())
    }

    pub(super) fn set_ready(&mut self, number: usize, readable: bool, writable: bool) {
        if let Some(line) = self.sockets.get_mut(number) {
            line.readable |= readable;
            line.writable |= writable;
        }
    }

    pub(super) fn is_readable(&self) -> bool {
        self.sockets.iter().any(|line| line.readable)
    }

    /// Queues a datagram; a full queue is sent first.
    pub(super) fn push(
        &mut self,
        to: SocketAddr,
        bytes: &[u8],
        queue_max: usize,
        statistics: &mut Statistics,
    ) {
        let of_family = |line: &&mut Line| line.ipv6 == to.is_ipv6();
        let Some(line) = self.sockets.iter_mut().find(of_family) else {
            statistics.datagrams_dropped.no_socket += 1;
            return;
        };
        if line.queue.len() >= BATCH {
            line.send(statistics);
        }
        if line.queue.len() >= queue_max {
            statistics.datagrams_dropped.queue_full += 1;
            return;
        }
        line.queue.push(to, bytes);
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self, statistics: &mut Statistics) {
        for line in &mut self.sockets {
            line.send(statistics);
        }
    }
}

impl<E: Endpoint> Driver<E> {
    /// Feeds the datagrams that came, at most the turn's share of each socket.
    pub(super) fn receive_datagrams(&mut self, now: Instant, buffer: &mut [u8]) {
        for number in 0..self.datagrams.sockets.len() {
            let mut share = self.limits.datagrams_per_turn;
            while share > 0 {
                share -= 1;
                let Some(line) = self.datagrams.sockets.get_mut(number) else {
                    break;
                };
                if !line.readable {
                    break;
                }
                match line.socket.recv_from(buffer) {
                    Ok((count, from)) => {
                        self.statistics.datagrams_received += 1;
                        let bytes = buffer.get(..count).unwrap_or_default();
                        self.feed(now, Input::Datagram { from, bytes });
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => line.readable = false,
                    // An answer to one sent earlier: its target is not there.
                    Err(_) => {}
                }
            }
        }
    }
}

impl Line {
    fn send(&mut self, statistics: &mut Statistics) {
        while self.writable && self.queue.len() > 0 {
            match send_batch(&self.socket, &self.queue) {
                Ok(count) => {
                    statistics.datagrams_sent += count as u64;
                    self.queue.sent += count;
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => self.writable = false,
                    ErrorKind::Interrupted => {}
                    // It concerns the first of the batch alone.
                    _ => {
                        statistics.datagrams_dropped.send_failed += 1;
                        self.queue.sent += 1;
                    }
                },
            }
        }
        self.queue.compact();
    }
}

impl Queue {
    fn len(&self) -> usize {
        self.targets.len() - self.sent
    }

    fn push(&mut self, to: SocketAddr, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.targets.push((to, self.bytes.len()));
    }

    /// The datagram `number` places behind the first that waits.
    fn get(&self, number: usize) -> Option<(SocketAddr, &[u8])> {
        let place = self.sent + number;
        let &(to, end) = self.targets.get(place)?;
        let start = match place.checked_sub(1) {
            Some(before) => self.targets.get(before)?.1,
            None => 0,
        };
        Some((to, self.bytes.get(start..end)?))
    }

    fn compact(&mut self) {
        if self.len() == 0 {
            self.bytes.clear();
            self.targets.clear();
            self.sent = 0;
        } else if self.sent >= BATCH * 4 {
            let start = self.targets.get(self.sent - 1).map_or(0, |&(_, end)| end);
            self.bytes.drain(..start);
            self.targets.drain(..self.sent);
            self.targets.iter_mut().for_each(|(_, end)| *end -= start);
            self.sent = 0;
        }
    }
}

/// Sends up to [`BATCH`] datagrams; how many the system took.
#[cfg(target_os = "linux")]
fn send_batch(socket: &UdpSocket, queue: &Queue) -> io::Result<usize> {
    use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, addr::SocketAddrArg, sendmmsg};

    let count = queue.len().min(BATCH);
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let mut parts: [_; BATCH] = std::array::from_fn(|number| {
        let (to, bytes) = queue.get(number).unwrap_or((nowhere, &[]));
        let control = SendAncillaryBuffer::default();
        (to.as_any(), [io::IoSlice::new(bytes)], control)
    });
    let mut headers = parts
        .each_mut()
        .map(|(to, slice, control)| MMsgHdr::new_with_addr(to, slice, control));
    let batch = headers.get_mut(..count).unwrap_or_default();
    Ok(sendmmsg(socket, batch, SendFlags::empty())?)
}

/// Sends one datagram; how many the system took.
#[cfg(not(target_os = "linux"))]
fn send_batch(socket: &UdpSocket, queue: &Queue) -> io::Result<usize> {
    match queue.get(0) {
        Some((to, bytes)) => socket.send_to(bytes, to).map(|_| 1),
        None => Ok(0),
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM.nonblocking().cloexec(),
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(UdpSocket::from_std(socket.into()))
}
