use super::*;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use tautline_core::{AcceptError, Deadline, FileId, Key};

use crate::files::FilesLimits;

mod datagrams;
mod storage;
mod tcp;
mod tls;

/// A fact that the endpoint was told, in an owned form; its events.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fact {
    Connected,
    ConnectFailed(ConnectError),
    Received(Vec<u8>),
    Eof,
    Blocked,
    Writable,
    Closed(CloseReason),
    Moved(u64),
    Stored(u64),
    Loaded(u64, Vec<u8>),
    Hashed(u64, [u8; 32]),
    StoreFailed(u64, StoreError),
    Datagram(SocketAddr, Vec<u8>),
    Timeout,
}

/// An effect that the endpoint wants, in an owned form.
#[derive(Clone, Debug)]
enum Want {
    Connect {
        port: u16,
        tls: bool,
        host: &'static str,
    },
    Write(Vec<u8>),
    Resume,
    Close(Close),
    Take {
        sink: FileId,
        offset: u64,
        len: u64,
    },
    SendFile {
        file: FileId,
        range: Range<u64>,
    },
    Hash(FileId, Range<u64>),
    Create(FileId, &'static str),
    Append(FileId, Vec<u8>),
    Sync(FileId),
    Load(&'static str),
    Store(StoreOp<'static>),
    Datagram(SocketAddr, Vec<u8>),
}

/// An endpoint without a will of its own: the test wants, and is told facts.
/// It takes at most `allowance` bytes of what it is offered.
#[derive(Default)]
struct Toy {
    wants: VecDeque<Want>,
    facts: VecDeque<Fact>,
    allowance: usize,
    ticket: u64,
    deadline: Option<Instant>,
}

fn conn() -> ConnId {
    ConnId::from_key(Key::new(0, 0))
}

fn file(index: u32) -> FileId {
    FileId::from_key(Key::new(index, 0))
}

impl Toy {
    fn want(&mut self, want: Want) {
        self.wants.push_back(want);
    }

    fn next_ticket(&mut self) -> Ticket {
        self.ticket += 1;
        Ticket(self.ticket)
    }
}

impl Endpoint for Toy {
    type Event = Fact;

    fn handle_input(&mut self, now: Instant, input: Input<'_>) -> usize {
        let mut taken = 0;
        let fact = match input {
            Input::Timeout => {
                if self.deadline.is_none_or(|deadline| now < deadline) {
                    return 0;
                }
                self.deadline = None;
                Fact::Timeout
            }
            Input::WallClock(_) | Input::Introduced { .. } => return 0,
            Input::Connected { local, peer, .. } => {
                assert!(local != peer && local.ip().is_loopback() && peer.ip().is_loopback());
                Fact::Connected
            }
            Input::ConnectFailed { why, .. } => Fact::ConnectFailed(why),
            Input::Received { bytes, .. } => {
                assert!(!bytes.is_empty());
                taken = bytes.len().min(self.allowance);
                self.allowance -= taken;
                Fact::Received(bytes[..taken].to_vec())
            }
            Input::Eof { .. } => Fact::Eof,
            Input::Blocked { .. } => Fact::Blocked,
            Input::Writable { .. } => Fact::Writable,
            Input::Closed { why, .. } => Fact::Closed(why),
            Input::Moved { bytes, .. } => Fact::Moved(bytes),
            Input::Hashed { ticket, digest } => Fact::Hashed(ticket.0, digest),
            Input::Stored { ticket } => Fact::Stored(ticket.0),
            Input::Loaded { ticket, bytes } => Fact::Loaded(ticket.0, bytes.to_vec()),
            Input::StoreFailed { ticket, why } => Fact::StoreFailed(ticket.0, why),
            Input::Datagram { from, bytes } => Fact::Datagram(from, bytes.to_vec()),
        };
        self.facts.push_back(fact);
        taken
    }

    fn poll_output<'b>(&mut self, buf: &'b mut [u8]) -> Output<'b, Fact> {
        if let Some(fact) = self.facts.pop_front() {
            return Output::Event(fact);
        }
        let Some(want) = self.wants.pop_front() else {
            let wait = |at| Deadline { at, reason: "test" };
            return Output::Wait(self.deadline.map(wait));
        };
        let conn = conn();
        match want {
            Want::Connect { port, tls, host } => Output::Connect {
                conn,
                host,
                port,
                tls,
            },
            Want::Write(mut bytes) => {
                let rest = bytes.split_off(bytes.len().min(buf.len()));
                if !rest.is_empty() {
                    self.wants.push_front(Want::Write(rest));
                }
                let buf = &mut buf[..bytes.len()];
                buf.copy_from_slice(&bytes);
                Output::Write { conn, bytes: buf }
            }
            Want::Resume => Output::Resume { conn },
            Want::Close(how) => Output::Close { conn, how },
            Want::Take { sink, offset, len } => Output::Take {
                conn,
                sink,
                offset,
                len,
            },
            Want::SendFile { file, range } => Output::SendFile { conn, file, range },
            Want::Datagram(to, bytes) => {
                let buf = &mut buf[..bytes.len()];
                buf.copy_from_slice(&bytes);
                Output::Datagram { to, bytes: buf }
            }
            Want::Hash(file, range) => Output::Hash {
                ticket: self.next_ticket(),
                file,
                range,
            },
            Want::Append(file, bytes) => {
                let buf = &mut buf[..bytes.len()];
                buf.copy_from_slice(&bytes);
                let op = StoreOp::Append { file, bytes: buf };
                Output::Store {
                    ticket: self.next_ticket(),
                    op,
                }
            }
            Want::Create(file, name) => {
                let op = StoreOp::Create {
                    file,
                    name,
                    reserve: 0,
                };
                Output::Store {
                    ticket: self.next_ticket(),
                    op,
                }
            }
            Want::Sync(file) => Output::Store {
                ticket: self.next_ticket(),
                op: StoreOp::Sync { file },
            },
            Want::Store(op) => Output::Store {
                ticket: self.next_ticket(),
                op,
            },
            Want::Load(name) => {
                let op = StoreOp::Load {
                    name,
                    bytes_max: 1_000_000,
                };
                Output::Store {
                    ticket: self.next_ticket(),
                    op,
                }
            }
        }
    }

    fn accept(&mut self, _: Instant, _: SocketAddr, _: SocketAddr) -> Result<ConnId, AcceptError> {
        Err(AcceptError::NotListening)
    }
}

/// A driver with a toy, in a folder of its own.
struct Bench {
    driver: Driver<Toy>,
    /// All facts so far, those received in one piece.
    facts: Vec<Fact>,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with(None, Vec::new(), DriverLimits::default())
    }

    fn with(
        tls: Option<crate::tls::ClientConfig>,
        datagrams: Vec<UdpSocket>,
        limits: DriverLimits,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path(), FilesLimits::default()).unwrap();
        let equipment = Equipment {
            clock: Clock::start(),
            files,
            tls,
            datagrams,
            limits,
        };
        let toy = Toy {
            allowance: usize::MAX,
            ..Toy::default()
        };
        Self {
            driver: Driver::new(toy, equipment).unwrap(),
            facts: Vec::new(),
            dir,
        }
    }

    fn connecting(peer: &Peer) -> Self {
        let mut bench = Self::new();
        bench.want(peer.connect(false));
        bench
    }

    fn want(&mut self, want: Want) {
        self.driver.endpoint().want(want);
    }

    /// Runs until `react` breaks.
    fn run(&mut self, mut react: impl FnMut(&mut Toy, &Fact) -> ControlFlow<()>) {
        let facts = &mut self.facts;
        self.driver.run(|toy, _, fact| {
            let flow = react(toy, &fact);
            match (facts.last_mut(), fact) {
                (Some(Fact::Received(all)), Fact::Received(more)) => all.extend(more),
                (_, fact) => facts.push(fact),
            }
            flow
        });
    }

    /// Runs until this fact was told.
    fn run_until(&mut self, last: &Fact) {
        self.run(|_, fact| break_if(fact == last));
    }

    fn received(&self) -> Vec<u8> {
        let received = |fact: &Fact| match fact {
            Fact::Received(bytes) => bytes.clone(),
            _ => Vec::new(),
        };
        self.facts.iter().flat_map(received).collect()
    }
}

fn break_if(condition: bool) -> ControlFlow<()> {
    if condition {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

/// The other end: a listener on loopback, served by a function on a thread.
struct Peer {
    port: u16,
    thread: thread::JoinHandle<()>,
}

impl Peer {
    fn start(serve: impl FnOnce(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = thread::spawn(move || serve(listener.accept().unwrap().0));
        Self { port, thread }
    }

    fn connect(&self, tls: bool) -> Want {
        Want::Connect {
            port: self.port,
            tls,
            host: "localhost",
        }
    }

    fn join(self) {
        self.thread.join().unwrap();
    }
}

/// Bytes that show any mistake in their order.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

#[test]
fn deadlines_are_kept() {
    let mut bench = Bench::new();
    let due = bench.driver.clock.now() + Duration::from_millis(1);
    bench.driver.endpoint().deadline = Some(due);
    bench.run_until(&Fact::Timeout);
    assert!(bench.driver.clock.now() >= due);
}

/// A message that puts itself into the queue again, `times` at most.
fn keep_busy(commander: Commander<Toy>, passes: Arc<AtomicU64>, times: u64) {
    let again = commander.clone();
    let pass = move |_: &mut Toy, _| {
        if passes.fetch_add(1, Ordering::Relaxed) < times {
            keep_busy(again, passes, times);
        }
    };
    commander.command(pass).unwrap();
}

#[test]
fn deadlines_are_kept_when_messages_never_end() {
    const TIMES: u64 = 100_000;
    let mut bench = Bench::new();
    let passes = Arc::new(AtomicU64::new(0));
    keep_busy(bench.driver.commander(), Arc::clone(&passes), TIMES);
    bench.driver.endpoint().deadline = Some(bench.driver.clock.now());
    bench.run_until(&Fact::Timeout);
    let passes = passes.load(Ordering::Relaxed);
    assert!((1..TIMES).contains(&passes), "{passes}");
}

#[test]
fn commands_come_from_other_threads() {
    let mut bench = Bench::new();
    let commander = bench.driver.commander();
    let of_thread = commander.clone();
    let thread = thread::spawn(move || of_thread.command(|toy, _| toy.want(Want::Load("nothing"))));
    bench.run_until(&Fact::StoreFailed(1, StoreError::NotFound));
    assert_eq!(thread.join().unwrap(), Ok(()));
    drop(bench);
    assert_eq!(commander.command(|_, _| {}), Err(Stopped));
}
