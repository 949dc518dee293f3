//! The datagram socket: a thread that receives; sending does not wait.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::{News, Post};

/// A longer datagram is none of ours.
const DATAGRAM_BYTES_MAX: usize = 2_048;
/// A socket whose errors come at once must not keep a core busy.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

pub(super) struct Datagrams {
    socket: UdpSocket,
    /// One buffer goes round; while it is not given back, the system's buffer
    /// takes what arrives.
    buffers: Option<SyncSender<Vec<u8>>>,
}

impl Datagrams {
    pub(super) fn start(socket: UdpSocket, post: Post) -> io::Result<Self> {
        // What the network does not take now may be lost.
        socket.set_write_timeout(Some(Duration::from_millis(1)))?;
        let receiving = socket.try_clone()?;
        let (give, buffers) = sync_channel(1);
        let datagrams = Self {
            socket,
            buffers: Some(give),
        };
        datagrams.give_back(Vec::new());
        thread::Builder::new()
            .name("datagrams".to_owned())
            .spawn(move || receive_all(&receiving, &buffers, &post))?;
        Ok(datagrams)
    }

    pub(super) fn send(&self, to: SocketAddr, bytes: &[u8]) {
        if let Err(error) = self.socket.send_to(bytes, to) {
            tracing::debug!(%to, %error, "a datagram was not sent");
        }
    }

    /// Gives back the buffer of one that was received.
    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        if let Some(buffers) = &self.buffers {
            // It is the only one, so there is room, and it comes from the
            // thread, which waits for it.
            let _ = buffers.try_send(buffer);
        }
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        self.buffers = None;
        // Wakes the thread, which then finds that no buffer will come.
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

fn receive_all(socket: &UdpSocket, buffers: &Receiver<Vec<u8>>, post: &Post) {
    while let Ok(mut buffer) = buffers.recv() {
        buffer.resize(DATAGRAM_BYTES_MAX + 1, 0);
        let (len, from) = loop {
            match socket.recv_from(&mut buffer) {
                Ok((len, from)) if len <= DATAGRAM_BYTES_MAX => break (len, from),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "no datagram was received");
                    thread::sleep(PAUSE_AFTER_ERROR);
                }
            }
        };
        buffer.truncate(len);
        let news = News::Datagram {
            from,
            bytes: buffer,
        };
        if post.send(news).is_err() {
            return;
        }
    }
}
