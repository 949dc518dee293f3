//! A daemon under attack: slow heads, and thousands of connections that never
//! speak. Meanwhile it answers, and afterwards nothing of them is left.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections whose head comes a byte now and then.
const SLOW: usize = 400;
/// Connections that never speak, where descriptors suffice.
const SILENT_MAX: usize = 10_000;
/// Fewer than that are no attack.
const SILENT_MIN: usize = 4_000;
/// Descriptors that both processes need for themselves, generously.
const RESERVED: u64 = 1_000;
/// How often each slow head goes on.
const DRIP: Duration = Duration::from_millis(500);
/// Far beyond the 10 s that a head may take: what is open then stays open.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn slow_and_silent_connections_are_closed_while_others_are_answered() {
    let daemon = Daemon::start();
    let at_start = daemon.descriptors();
    let silent = silent_count();
    let mut crowd = Crowd::new(SLOW + silent);
    let mut held = 0;
    for place in 0..SLOW + silent {
        crowd.join(connect_from(place, daemon.address), place < SLOW);
        // An answer means that all before it were accepted: no queue overflows,
        // where the system would try again seconds later.
        if place % 100 == 99 {
            daemon.assert_alive();
            held = held.max(daemon.descriptors().saturating_sub(at_start));
            crowd.turn(Duration::ZERO);
        }
    }
    assert!(held >= SILENT_MIN, "no more than {held} were held at once");

    let mut answered = 0;
    while crowd.open > 0 {
        assert!(
            crowd.started.elapsed() < PATIENCE,
            "{} of {} connections are open still",
            crowd.open,
            SLOW + silent
        );
        crowd.turn(DRIP);
        daemon.assert_alive();
        answered += 1;
    }
    assert!(answered > 1, "nothing was asked meanwhile");
    assert_eq!(crowd.told_408, SLOW, "slow heads are told why");
    assert_eq!(crowd.told_else, 0, "who never spoke is told nothing");

    daemon.assert_alive();
    let since = Instant::now();
    while daemon.descriptors() > at_start {
        let left = daemon.descriptors();
        assert!(since.elapsed() < PATIENCE, "{left}, {at_start} at start");
        std::thread::yield_now();
    }
    assert_eq!(daemon.descriptors(), at_start);
}

/// How many silent connections both processes have descriptors for.
fn silent_count() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let room = maximum.map_or(u64::MAX, |limit| limit.saturating_sub(RESERVED));
    let count = usize::try_from(room).unwrap_or(usize::MAX);
    let count = count.saturating_sub(SLOW).min(SILENT_MAX);
    assert!(count >= SILENT_MIN, "too few descriptors: {maximum:?}");
    count
}

/// The attackers, in one thread.
struct Crowd {
    members: Vec<Option<Member>>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    open: usize,
    started: Instant,
    dripped: Instant,
    told_408: usize,
    told_else: usize,
}

struct Member {
    socket: TcpStream,
    slow: bool,
    told: Vec<u8>,
}

impl Crowd {
    fn new(count_max: usize) -> Self {
        Self {
            members: Vec::with_capacity(count_max),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).unwrap(),
            events: Vec::with_capacity(1_024),
            open: 0,
            started: Instant::now(),
            dripped: Instant::now(),
            told_408: 0,
            told_else: 0,
        }
    }

    fn join(&mut self, mut socket: TcpStream, slow: bool) {
        if slow {
            let head = b"GET /healthz HTTP/1.1\r\nHost: relay\r\nX-Slow: ";
            socket.write_all(head).unwrap();
        }
        socket.set_nonblocking(true).unwrap();
        let place = EventData::new_u64(self.members.len() as u64);
        epoll::add(&self.epoll, &socket, place, EventFlags::IN).unwrap();
        self.open += 1;
        self.members.push(Some(Member {
            socket,
            slow,
            told: Vec::new(),
        }));
    }

    /// Lets heads go on when it is time, waits for what comes, and takes it.
    fn turn(&mut self, patience: Duration) {
        if self.dripped.elapsed() >= DRIP {
            self.dripped = Instant::now();
            for member in self.members.iter_mut().take(SLOW).flatten() {
                // It may be closed at the other end; that is seen by reading.
                member.socket.write_all(b"a").ok();
            }
        }
        let wait = Timespec::try_from(patience).unwrap();
        self.events.clear();
        epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&wait)).unwrap();
        for at in 0..self.events.len() {
            let place = self.events[at].data.u64() as usize;
            let Some(member) = &mut self.members[place] else {
                continue;
            };
            if !member.has_ended() {
                continue;
            }
            match (member.slow, member.told.starts_with(b"HTTP/1.1 408 ")) {
                (true, true) => self.told_408 += 1,
                _ if member.told.is_empty() => {}
                _ => self.told_else += 1,
            }
            self.members[place] = None;
            self.open -= 1;
        }
    }
}

impl Member {
    /// Reads what is there; whether the other end has closed.
    fn has_ended(&mut self) -> bool {
        match self.socket.read_to_end(&mut self.told) {
            Ok(_) => true,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }
}

/// Addresses of the loopback network, each with a thousand connections.
fn connect_from(place: usize, to: SocketAddr) -> TcpStream {
    let source = Ipv4Addr::new(127, 1, u8::try_from(place / 1_000).unwrap(), 1);
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::new(IpAddr::V4(source), 0)).unwrap();
    rustix::net::connect(&socket, &to).unwrap();
    TcpStream::from(socket)
}

/// A daemon that ends with its handle.
struct Daemon {
    child: Child,
    address: SocketAddr,
    _data: tempfile::TempDir,
}

impl Daemon {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut child = Command::new(tautline_tests::binary("tautlined"))
            .env_clear()
            .args(["--listen", "127.0.0.1:0", "--log-level", "error"])
            .arg("--data-dir")
            .arg(data.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let (base, _) = first.split_once("/#token=").unwrap();
        let address = base.strip_prefix("http://").unwrap().parse().unwrap();
        Self {
            child,
            address,
            _data: data,
        }
    }

    fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(folder).unwrap().count()
    }

    fn assert_alive(&self) {
        let mut socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let asked = b"GET /healthz HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n";
        socket.write_all(asked).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nalive\n"), "{answer}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended already cannot be ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
