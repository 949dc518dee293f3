//! The other ends of the connections: they read and drop.

use std::net::TcpStream;
use std::os::fd::OwnedFd;

use rustix::event::epoll;

/// Sockets that are read by one loop.
pub(crate) struct Subscribers {
    poll: OwnedFd,
    sockets: Vec<TcpStream>,
}

impl Default for Subscribers {
    fn default() -> Self {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
        Self {
            poll,
            sockets: Vec::new(),
        }
    }
}

impl Subscribers {
    /// Takes a connection that was opened.
    pub(crate) fn push(&mut self, socket: TcpStream) {
        socket.set_nonblocking(true).expect("a socket");
        let data = epoll::EventData::new_u64(self.sockets.len() as u64);
        epoll::add(&self.poll, &socket, data, epoll::EventFlags::IN).expect("epoll");
        self.sockets.push(socket);
    }

    /// Reads until so many bytes have come on all sockets together.
    pub(crate) fn wait_for(&mut self, bytes: u64) {
        let deadline = super::deadline();
        let mut events = Vec::with_capacity(1_024);
        let mut buffer = [0; 65_536];
        let mut came = 0;
        while came < bytes {
            assert!(
                std::time::Instant::now() < deadline,
                "{came} of {bytes} bytes came"
            );
            events.clear();
            let second = rustix::event::Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            };
            let spare = rustix::buffer::spare_capacity(&mut events);
            epoll::wait(&self.poll, spare, Some(&second)).expect("epoll");
            for event in &events {
                let socket = &self.sockets[event.data.u64() as usize];
                came += std::io::Read::read(&mut &*socket, &mut buffer).unwrap_or(0) as u64;
            }
        }
        assert_eq!(came, bytes, "more came than was sent");
    }
}
