//! The datagram sockets: each has a thread that receives; sending does not
//! wait.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::{News, Post};

/// As long as a datagram can be, so that one that is too long for the endpoint
/// is handed in and counted, on every system.
const BUFFER_BYTES: usize = 65_535;
/// A socket whose errors come at once must not keep a core busy.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

pub(super) struct Datagrams {
    lines: Vec<Line>,
}

struct Line {
    socket: UdpSocket,
    is_ipv6: bool,
    /// One buffer goes round; while it is not given back, the system's buffer
    /// takes what arrives.
    buffers: SyncSender<Vec<u8>>,
}

/// A datagram that was received.
pub(super) struct Arrival {
    /// The socket's place.
    socket: usize,
    pub(super) from: SocketAddr,
    buffer: Vec<u8>,
    len: usize,
}

impl Arrival {
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }
}

impl Datagrams {
    pub(super) fn start(sockets: Vec<UdpSocket>, post: &Post) -> io::Result<Self> {
        let mut datagrams = Self { lines: Vec::new() };
        for (number, socket) in sockets.into_iter().enumerate() {
            datagrams
                .lines
                .push(Line::start(number, socket, post.clone())?);
        }
        Ok(datagrams)
    }

    /// Sends by the first socket of the address's family; without one it is
    /// lost.
    pub(super) fn send(&self, to: SocketAddr, bytes: &[u8]) {
        let to = SocketAddr::new(to.ip().to_canonical(), to.port());
        let mut lines = self.lines.iter();
        match lines.find(|line| line.is_ipv6 == to.is_ipv6()) {
            Some(line) => line.send(to, bytes),
            None => tracing::debug!(%to, "a datagram was not sent: no socket of its family"),
        }
    }

    /// Gives back the buffer of one that was received.
    pub(super) fn give_back(&self, arrival: Arrival) {
        if let Some(line) = self.lines.get(arrival.socket) {
            // It is the only one, so there is room, and it comes from the
            // thread, which waits for it.
            let _ = line.buffers.try_send(arrival.buffer);
        }
    }
}

impl Line {
    fn start(number: usize, socket: UdpSocket, post: Post) -> io::Result<Self> {
        // What the network does not take now may be lost.
        socket.set_write_timeout(Some(Duration::from_millis(1)))?;
        let is_ipv6 = socket.local_addr()?.is_ipv6();
        let receiving = socket.try_clone()?;
        let (give, buffers) = sync_channel(1);
        // There is room for it.
        let _ = give.try_send(vec![0; BUFFER_BYTES]);
        thread::Builder::new()
            .name("datagrams".to_owned())
            .spawn(move || receive_all(number, &receiving, &buffers, &post))?;
        Ok(Self {
            socket,
            is_ipv6,
            buffers: give,
        })
    }

    fn send(&self, to: SocketAddr, bytes: &[u8]) {
        if let Err(error) = self.socket.send_to(bytes, to) {
            tracing::debug!(%to, %error, "a datagram was not sent");
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // No buffer will come any more.
        self.buffers = sync_channel(0).0;
        // Wakes the thread, which then finds that.
        if let Ok(mut own) = self.socket.local_addr() {
            if own.ip().is_unspecified() {
                own.set_ip(match own.ip() {
                    IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                    IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
                });
            }
            self.send(own, &[]);
        }
    }
}

fn receive_all(number: usize, socket: &UdpSocket, buffers: &Receiver<Vec<u8>>, post: &Post) {
    while let Ok(mut buffer) = buffers.recv() {
        let (len, from) = loop {
            match socket.recv_from(&mut buffer) {
                Ok(received) => break received,
                Err(error) => {
                    tracing::debug!(%error, "no datagram was received");
                    thread::sleep(PAUSE_AFTER_ERROR);
                }
            }
        };
        let arrival = Arrival {
            socket: number,
            from,
            buffer,
            len,
        };
        if post.send(News::Datagram(arrival)).is_err() {
            return;
        }
    }
}
