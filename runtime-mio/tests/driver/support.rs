//! A toy endpoint whose behaviour is a closure, and a driver that runs it.

use std::collections::{HashSet, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant as Wall};

use tautline_core::{
    AcceptError, Close, ConnId, Deadline, Endpoint, FileId, Input, Instant, Key, Output, StoreOp,
    Ticket,
};
use tautline_mio::driver::{Application, Config, Driver};
use tautline_std::clock::Clock;
use tautline_std::files::{Files, FilesLimits, Op};

/// Tests end with a failure, never hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a behaviour can want.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Write(ConnId, Vec<u8>),
    Resume(ConnId),
    Connect(ConnId, String, u16, bool),
    Close(ConnId, Close),
    Take(ConnId, FileId, u64, u64),
    SendFile(ConnId, FileId, u64, u64),
    Datagram(SocketAddr, Vec<u8>),
    Store(Ticket, Op),
    Hash(Ticket, FileId, u64, u64),
}

impl Act {
    fn conn(&self) -> Option<ConnId> {
        match self {
            Self::Write(conn, _) | Self::SendFile(conn, ..) | Self::Close(conn, Close::Finish) => {
                Some(*conn)
            }
            _ => None,
        }
    }
}

/// What the toy keeps for its behaviour.
#[derive(Default)]
pub(crate) struct Desk {
    pub(crate) acts: VecDeque<Act>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) connections_max: Option<usize>,
    live: Vec<(u32, bool)>,
    blocked: HashSet<ConnId>,
}

impl Desk {
    pub(crate) fn act(&mut self, act: Act) {
        self.acts.push_back(act);
    }

    /// The handle of a new connection.
    pub(crate) fn open(&mut self) -> ConnId {
        let free = self.live.iter().position(|(_, live)| !live);
        let index = free.unwrap_or_else(|| {
            self.live.push((0, false));
            self.live.len() - 1
        });
        self.live[index].1 = true;
        ConnId::from_key(Key::new(index as u32, self.live[index].0))
    }

    pub(crate) fn live(&self) -> usize {
        self.live.iter().filter(|(_, live)| *live).count()
    }

    fn gone(&mut self, conn: ConnId) {
        self.blocked.remove(&conn);
        let (generation, live) = &mut self.live[conn.index()];
        assert!(
            *live && *generation == conn.key().generation(),
            "told twice"
        );
        *live = false;
        *generation += 1;
    }

    /// The first act that no blocked connection holds up.
    fn next(&mut self) -> Option<Act> {
        let mut held: HashSet<ConnId> = self.blocked.clone();
        let place = self.acts.iter().position(|act| match act.conn() {
            Some(conn) => !held.contains(&conn) || !held.insert(conn),
            None => true,
        })?;
        self.acts.remove(place)
    }
}

/// An endpoint that does what a closure says.
pub(crate) struct Toy<B> {
    pub(crate) desk: Desk,
    pub(crate) behaviour: B,
}

impl<B: FnMut(&mut Desk, Instant, Input<'_>) -> usize> Endpoint for Toy<B> {
    type Event = ();

    fn handle_input(&mut self, now: Instant, input: Input<'_>) -> usize {
        match input {
            Input::Blocked { conn } => assert!(self.desk.blocked.insert(conn), "told twice"),
            Input::Writable { conn } => assert!(self.desk.blocked.remove(&conn), "not blocked"),
            Input::Closed { conn, .. } | Input::ConnectFailed { conn, .. } => self.desk.gone(conn),
            _ => {}
        }
        (self.behaviour)(&mut self.desk, now, input)
    }

    fn poll_output<'b>(&mut self, buf: &'b mut [u8]) -> Output<'b, ()> {
        let Some(act) = self.desk.next() else {
            return Output::Wait(self.desk.deadline.map(|at| Deadline { at, reason: "toy" }));
        };
        match act {
            Act::Write(conn, bytes) => {
                let count = bytes.len().min(buf.len());
                buf[..count].copy_from_slice(&bytes[..count]);
                if count < bytes.len() {
                    self.desk
                        .acts
                        .push_front(Act::Write(conn, bytes[count..].to_vec()));
                }
                let bytes = &buf[..count];
                Output::Write { conn, bytes }
            }
            Act::Resume(conn) => Output::Resume { conn },
            Act::Connect(conn, host, port, tls) => {
                let host = text(buf, &host);
                Output::Connect {
                    conn,
                    host,
                    port,
                    tls,
                }
            }
            Act::Close(conn, how) => Output::Close { conn, how },
            Act::Take(conn, sink, offset, len) => Output::Take {
                conn,
                sink,
                offset,
                len,
            },
            Act::SendFile(conn, file, start, end) => {
                let range = start..end;
                Output::SendFile { conn, file, range }
            }
            Act::Datagram(to, bytes) => {
                buf[..bytes.len()].copy_from_slice(&bytes);
                let bytes = &buf[..bytes.len()];
                Output::Datagram { to, bytes }
            }
            Act::Hash(ticket, file, start, end) => {
                let range = start..end;
                Output::Hash {
                    ticket,
                    file,
                    range,
                }
            }
            Act::Store(ticket, op) => Output::Store {
                ticket,
                op: borrowed(buf, op),
            },
        }
    }

    fn has_room(&self) -> bool {
        let max = self.desk.connections_max;
        max.is_none_or(|max| self.desk.live() < max)
    }

    fn accept(&mut self, _: Instant, _: SocketAddr, _: SocketAddr) -> Result<ConnId, AcceptError> {
        if !self.has_room() {
            return Err(AcceptError::Full);
        }
        Ok(self.desk.open())
    }
}

fn text<'b>(buf: &'b mut [u8], text: &str) -> &'b str {
    buf[..text.len()].copy_from_slice(text.as_bytes());
    std::str::from_utf8(&buf[..text.len()]).unwrap()
}

fn borrowed(buf: &mut [u8], op: Op) -> StoreOp<'_> {
    match op {
        Op::Create {
            file,
            name,
            reserve,
        } => {
            let name = text(buf, &name);
            StoreOp::Create {
                file,
                name,
                reserve,
            }
        }
        Op::Append { file, bytes } => {
            buf[..bytes.len()].copy_from_slice(&bytes);
            let bytes = &buf[..bytes.len()];
            StoreOp::Append { file, bytes }
        }
        Op::Write {
            file,
            offset,
            bytes,
        } => {
            buf[..bytes.len()].copy_from_slice(&bytes);
            let bytes = &buf[..bytes.len()];
            StoreOp::Write {
                file,
                offset,
                bytes,
            }
        }
        Op::Sync { file } => StoreOp::Sync { file },
        Op::Open { file, name } => {
            let name = text(buf, &name);
            StoreOp::Open { file, name }
        }
        Op::Copy {
            from,
            to,
            bytes_max,
        } => {
            let (front, back) = buf.split_at_mut(from.len());
            let (from, to) = (text(front, &from), text(back, &to));
            StoreOp::Copy {
                from,
                to,
                bytes_max,
            }
        }
        Op::List { prefix } => {
            let prefix = text(buf, &prefix);
            StoreOp::List { prefix }
        }
        Op::Load { name, bytes_max } => {
            let name = text(buf, &name);
            StoreOp::Load { name, bytes_max }
        }
        Op::Close { file } => StoreOp::Close { file },
        other => panic!("not needed here: {other:?}"),
    }
}

pub(crate) struct Nothing;

impl<E: Endpoint> Application<E> for Nothing {
    fn event(&mut self, _: Instant, _: &mut E, _: E::Event) {}
}

/// A driver on a loopback port, and the folder that it keeps its files in.
pub(crate) struct Stage<B: FnMut(&mut Desk, Instant, Input<'_>) -> usize> {
    pub(crate) driver: Driver<Toy<B>>,
    pub(crate) address: SocketAddr,
    _dir: tempfile::TempDir,
}

pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) fn stage<B>(behaviour: B) -> Stage<B>
where
    B: FnMut(&mut Desk, Instant, Input<'_>) -> usize,
{
    stage_with(Config::default(), behaviour)
}

pub(crate) fn stage_with<B>(config: Config, behaviour: B) -> Stage<B>
where
    B: FnMut(&mut Desk, Instant, Input<'_>) -> usize,
{
    let dir = tempfile::tempdir().unwrap();
    let files = Files::open(dir.path(), FilesLimits::default()).unwrap();
    let toy = Toy {
        desk: Desk::default(),
        behaviour,
    };
    let config = Config {
        listen: vec![loopback()],
        ..config
    };
    let driver = Driver::new(toy, Clock::start(), files, config).unwrap();
    let address = driver.listen_addrs().next().unwrap();
    Stage {
        driver,
        address,
        _dir: dir,
    }
}

impl<B: FnMut(&mut Desk, Instant, Input<'_>) -> usize> Stage<B> {
    /// Turns until the condition holds.
    pub(crate) fn until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let started = Wall::now();
        while !done(self) {
            assert!(
                started.elapsed() < PATIENCE,
                "{:?}",
                self.driver.statistics()
            );
            let nap = Some(Duration::from_millis(10));
            self.driver.turn(&mut Nothing, nap).unwrap();
        }
    }

    /// Turns while a peer does its part in a thread; returns what it brings.
    pub(crate) fn with_peer<R: Send + 'static>(
        &mut self,
        peer: impl FnOnce(SocketAddr) -> R + Send + 'static,
    ) -> R {
        let address = self.address;
        let thread = std::thread::spawn(move || peer(address));
        self.until(|_| thread.is_finished());
        thread.join().unwrap()
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends the bytes and the end, and reads to the end.
pub(crate) fn exchange(mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    let mut writer = stream.try_clone().unwrap();
    let bytes = bytes.to_vec();
    let thread = std::thread::spawn(move || {
        writer.write_all(&bytes).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    thread.join().unwrap();
    answer
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

pub(crate) fn file_id(index: u32) -> FileId {
    FileId::from_key(Key::new(index, 0))
}

/// Sends back what comes, and ends when the peer does.
pub(crate) fn echo(desk: &mut Desk, input: Input<'_>) -> usize {
    match input {
        Input::Received { conn, bytes } => {
            desk.act(Act::Write(conn, bytes.to_vec()));
            bytes.len()
        }
        Input::Eof { conn } => {
            desk.act(Act::Close(conn, Close::Finish));
            0
        }
        _ => 0,
    }
}
