//! The bare loop's process: one ping and one pong for each connection and
//! period, and nothing else.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use tautline_core::wire::message::{Ping, ToClient};

/// Takes connections, says so, and pings each once in a period, spread evenly
/// over moments that are `grain_ms` apart, until its process is ended.
pub(crate) fn serve(count: usize, period: Duration, grain_ms: u64) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    let accept = |place: usize| {
        let (socket, _) = listener.accept().expect("a connection");
        socket.set_nonblocking(true).expect("a socket");
        socket.set_nodelay(true).expect("a socket");
        let data = epoll::EventData::new_u64(place as u64);
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&poll, &socket, data, flags).expect("epoll");
        socket
    };
    let sockets: Vec<TcpStream> = (0..count).map(accept).collect();
    println!("connected");

    let mut ping = [0; 64];
    let len = ToClient::Ping(Ping { nonce: 1 }).encode(&mut ping);
    let ping = &ping[..len.expect("room")];
    let mut events = Vec::with_capacity(1_024);
    let mut pong = [0; 64];
    let start = Instant::now();
    let micros = period.as_micros() as u64 / count.max(1) as u64;
    let moment =
        |ping: u64| start + Duration::from_millis(ping * micros / 1_000 / grain_ms * grain_ms);
    let mut pings = 0;
    // Whoever started it ends it, or the loop ends with who has gone.
    loop {
        let wait = moment(pings).saturating_duration_since(Instant::now());
        // In whole milliseconds, as the daemon sleeps.
        let millis = wait.as_micros().div_ceil(1_000) as i64;
        let timeout = Timespec {
            tv_sec: millis / 1_000,
            tv_nsec: millis % 1_000 * 1_000_000,
        };
        events.clear();
        let spare = rustix::buffer::spare_capacity(&mut events);
        epoll::wait(&poll, spare, Some(&timeout)).ok();
        for event in &events {
            let mut socket = &sockets[event.data.u64() as usize];
            match socket.read(&mut pong) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        while moment(pings) <= Instant::now() {
            let mut socket = &sockets[pings as usize % sockets.len()];
            if socket.write_all(ping).is_err() {
                return;
            }
            pings += 1;
        }
    }
}
