//! A pool of connections, kept alive through a firewall that forgets.
//!
//! A server, a firewall and a client, over real sockets on loopback. The
//! firewall forgets a connection that was idle for 4 s: from then on it swallows
//! what comes, and tells nobody. One story runs twice at a time, with a heartbeat
//! on each idle connection every second, and without.
//!
//! The machines of `tautline-core` decide. A loop (`Client::drive`) carries out
//! what they want until they want nothing, waits for news or for the earliest
//! deadline, and tells them. The server shows the same with one machine.
//!
//!     cargo run -p tautline-std --example pool

use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tautline_core::collections::Slab;
use tautline_core::heartbeat::{
    Monitor, MonitorSettings, Pool, PoolEffect, PoolSettings, Prober, ProberEffect, ProberLimits,
    ProberSettings,
};
use tautline_core::{Instant, Key, Machine};
use tautline_std::clock::Clock;

const SECOND: Duration = Duration::from_secs(1);
/// Four periods, so that a busy machine may be late.
const FIREWALL_LIMIT: Duration = Duration::from_secs(4);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// What the server needs for a request.
const WORK: Duration = Duration::from_millis(800);
/// When the story is given up.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);
const CONNECTIONS_MAX: u32 = 64;

type Failure = Box<dyn Error + Send + Sync>;

/// Plays the story with and without heartbeats, and compares.
fn main() -> Result<(), Failure> {
    let clock = Clock::start();
    let log = move |run| Log { run, clock };
    let with = thread::spawn(move || play(log("with heartbeats"), SECOND));
    let without = play(log("without"), Duration::ZERO)?;
    let with = with.join().map_err(|_| "the story broke")??;
    if with.timed_out > 0 || with.lost > 0 {
        return Err("heartbeats should have kept every connection".into());
    }
    if without.timed_out == 0 || without.lost == 0 {
        return Err("without heartbeats the firewall should have cost some".into());
    }
    Ok(())
}

/// Many requests at once, none for a while, a few again.
fn play(log: Log, period: Duration) -> Result<Tally, Failure> {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let firewall = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let (behind, address) = (server.local_addr()?, firewall.local_addr()?);
    thread::spawn(move || serve(server, log));
    thread::spawn(move || forward(&firewall, behind, log.clock));

    let mut client = Client::new(log, address, period)?;
    log.say("ten requests at once");
    client.drive(10, Duration::ZERO)?;
    log.say("all are answered; now none for 5 s");
    client.drive(0, 5 * SECOND)?;
    log.say("three requests");
    client.drive(3, Duration::ZERO)?;
    let (tally, probes) = (client.tally, client.prober.stats());
    log.say(&format!(
        "{} answered, {} timed out, {} connections lost, {} heartbeats",
        tally.answered, tally.timed_out, tally.lost, probes.sent
    ));
    Ok(tally)
}

/// Says what happens, when, in which run.
#[derive(Clone, Copy)]
struct Log {
    run: &'static str,
    clock: Clock,
}

impl Log {
    fn say(&self, text: &str) {
        let at = self.clock.now().saturating_since(Instant::ORIGIN);
        println!("{:4.1} s  {:<15}  {text}", at.as_secs_f64(), self.run);
    }
}

/// What came of the requests of a run.
#[derive(Clone, Copy, Default)]
struct Tally {
    answered: u32,
    timed_out: u32,
    lost: u32,
}

/// A line that was read on a connection, or `None` at its end.
type News = (Key, Option<String>);

/// Two machines, and what their effects need of the world.
struct Client {
    pool: Pool,
    prober: Prober,
    /// Its keys are what the machines call the connections.
    sockets: Slab<TcpStream>,
    /// Until when the answer on which connection may take, the earliest first.
    asked: VecDeque<(Instant, Key)>,
    firewall: SocketAddr,
    tell: Sender<News>,
    news: Receiver<News>,
    tally: Tally,
    log: Log,
}

impl Client {
    fn new(log: Log, firewall: SocketAddr, period: Duration) -> Result<Self, Failure> {
        let pool = PoolSettings {
            connections_min: 2,
            connections_max: 6,
            free_min: 1,
            free_max: 3,
            frequency: SECOND,
            searches: 10,
            ..PoolSettings::default()
        };
        let prober = ProberSettings {
            period,
            ..ProberSettings::default()
        };
        let (tell, news) = channel();
        Ok(Self {
            pool: Pool::new(log.clock.now(), pool)?,
            prober: Prober::new(prober, ProberLimits::default())?,
            sockets: Slab::new(CONNECTIONS_MAX),
            asked: VecDeque::new(),
            firewall,
            tell,
            news,
            tally: Tally::default(),
            log,
        })
    }

    /// Requests so many times at once. Then the loop: for the span at least, and
    /// until all is answered.
    fn drive(&mut self, requests: u32, span: Duration) -> Result<(), Failure> {
        let start = self.log.clock.now();
        for _ in 0..requests {
            self.pool.request(start)?;
        }
        loop {
            self.drain()?;
            let now = self.log.clock.now();
            if now >= start + span && self.pool.waiting() == 0 && self.asked.is_empty() {
                return Ok(());
            }
            if now >= start + ANSWERS_WITHIN {
                return Err("requests stay without an answer".into());
            }
            // The pool looks every second, so this wakes up for the span, too.
            let asked = self.asked.front().map(|(until, _)| *until);
            let all = [self.pool.poll_timeout(), self.prober.poll_timeout(), asked];
            let deadline = all.into_iter().flatten().min().unwrap_or(Instant::MAX);
            let first = self.news.recv_timeout(self.log.clock.until(deadline));
            // All news come before the timeouts: what is there was in time.
            let news: Vec<_> = first.into_iter().chain(self.news.try_iter()).collect();
            for (conn, line) in news {
                self.handle_news(conn, line.as_deref())?;
                self.drain()?;
            }
            let now = self.log.clock.now();
            self.pool.handle_timeout(now);
            self.prober.handle_timeout(now);
            self.drain()?;
            if let Some((_, conn)) = self.asked.front().filter(|(until, _)| *until <= now) {
                self.tally.timed_out += 1;
                self.lose(*conn, "no answer in 3 s")?;
            }
        }
    }

    /// Carries out what the machines want, until they want nothing.
    fn drain(&mut self) -> Result<(), Failure> {
        loop {
            while let Some(effect) = self.pool.poll() {
                self.do_for_pool(effect)?;
            }
            match self.prober.poll() {
                Some(ProberEffect::Probe { conn, nonce }) => {
                    write_line(self.sockets.get(conn), "ping", nonce);
                }
                Some(ProberEffect::End(end)) => self.lose(end.conn, "no heartbeat came back")?,
                None => return Ok(()),
            }
        }
    }

    fn do_for_pool(&mut self, effect: PoolEffect) -> Result<(), Failure> {
        match effect {
            PoolEffect::Open => self.open()?,
            PoolEffect::Close { conn, .. } => {
                self.close(conn);
                self.say("one is more than needed");
            }
            PoolEffect::Granted { request, conn } => {
                // Whether the server is there, the request finds out.
                self.prober.remove(conn);
                let until = self.log.clock.now() + REQUEST_TIMEOUT;
                self.asked.push_back((until, conn));
                write_line(self.sockets.get(conn), "get", request.index() as u64);
            }
            PoolEffect::Refused { .. } => return Err("no connection came free".into()),
        }
        Ok(())
    }

    /// On loopback this takes no time; elsewhere a thread should do it.
    fn open(&mut self) -> Result<(), Failure> {
        let Ok(socket) = TcpStream::connect(self.firewall) else {
            self.pool.handle_open_failed();
            return Ok(());
        };
        let (reader, tell) = (socket.try_clone()?, self.tell.clone());
        let conn = self.sockets.insert(socket)?;
        read_lines(reader, move |line| tell.send((conn, line)).is_ok());
        let now = self.log.clock.now();
        self.pool.handle_opened(now, conn)?;
        self.prober.insert(now, conn, 0)?;
        self.say("one is opened");
        Ok(())
    }

    fn handle_news(&mut self, conn: Key, line: Option<&str>) -> Result<(), Failure> {
        if !self.sockets.contains(conn) {
            return Ok(()); // It was closed here.
        }
        let now = self.log.clock.now();
        self.pool.handle_received(now, conn);
        match line.and_then(|line| line.split_once(' ')) {
            Some(("pong", nonce)) => self.prober.handle_answer(now, conn, nonce.parse()?),
            Some(("got", _)) => {
                self.tally.answered += 1;
                self.asked.retain(|(_, asked)| *asked != conn);
                self.pool.release(now, conn)?;
                self.prober.insert(now, conn, 0)?;
            }
            _ => self.lose(conn, "the server closed one")?,
        }
        Ok(())
    }

    /// A connection is gone; what was asked on it is asked again on another.
    fn lose(&mut self, conn: Key, why: &str) -> Result<(), Failure> {
        self.tally.lost += 1;
        self.pool.handle_closed(conn);
        self.close(conn);
        self.say(why);
        if let Some(place) = self.asked.iter().position(|(_, asked)| *asked == conn) {
            self.asked.remove(place);
            self.pool.request(self.log.clock.now())?;
        }
        Ok(())
    }

    fn close(&mut self, conn: Key) {
        self.prober.remove(conn);
        let socket = self.sockets.remove(conn);
        socket.map(|socket| socket.shutdown(Shutdown::Both).ok());
    }

    fn say(&self, why: &str) {
        let (open, free) = (self.pool.len(), self.pool.free());
        self.log.say(&format!("{why}: {open} open, {free} free"));
    }
}

/// A short line has room in the socket's buffer, so this does not block; who
/// reads learns of the end.
fn write_line(socket: Option<&TcpStream>, verb: &str, figure: u64) {
    let line = format!("{verb} {figure}\n");
    socket.map(|mut socket| socket.write_all(line.as_bytes()).ok());
}

/// Has a thread take each line, and `None` at the end. Lines of a peer that is
/// not trusted would need a limit.
fn read_lines(socket: TcpStream, take: impl Fn(Option<String>) -> bool + Send + 'static) {
    thread::spawn(move || {
        let lines = BufReader::new(socket).lines().map_while(Result::ok);
        lines.map(Some).chain([None]).all(take)
    });
}

enum Arrival {
    Socket(TcpStream),
    News(News),
}

/// The server: answers, and closes what was silent for longer than 6 s.
fn serve(listener: TcpListener, log: Log) -> Result<(), Failure> {
    let mut sockets = Slab::new(CONNECTIONS_MAX);
    let mut monitor = Monitor::new(MonitorSettings {
        heartbeat: 6 * SECOND,
        frequency: SECOND,
        connections_max: CONNECTIONS_MAX,
    })?;
    let (tell, arrivals) = channel();
    let accepted = tell.clone();
    thread::spawn(move || {
        let mut sockets = listener.incoming().flatten().map(Arrival::Socket);
        sockets.try_for_each(|socket| accepted.send(socket))
    });
    loop {
        let deadline = monitor.poll_timeout().unwrap_or(Instant::MAX);
        let arrival = arrivals.recv_timeout(log.clock.until(deadline));
        let now = log.clock.now();
        match arrival {
            Ok(Arrival::Socket(socket)) => {
                let (reader, tell) = (socket.try_clone()?, tell.clone());
                let conn = sockets.insert(socket)?;
                let news = move |line| tell.send(Arrival::News((conn, line))).is_ok();
                read_lines(reader, news);
                monitor.insert(now, conn)?;
            }
            Ok(Arrival::News((conn, Some(line)))) => {
                monitor.handle_received(now, conn);
                sockets.get(conn).and_then(|socket| answer(socket, &line));
            }
            Ok(Arrival::News((conn, None))) => {
                monitor.remove(conn);
                sockets.remove(conn);
            }
            Err(_) => {} // It is time.
        }
        monitor.handle_timeout(now);
        while let Some(ended) = monitor.poll() {
            let socket = sockets.remove(ended.conn);
            socket.map(|socket: TcpStream| socket.shutdown(Shutdown::Both).ok());
            log.say("the server ends one that is silent");
        }
    }
}

/// On a thread of its own, since some answers take long; `None` to nonsense.
fn answer(socket: &TcpStream, line: &str) -> Option<()> {
    let (verb, figure) = line.split_once(' ')?;
    let (answer, work) = match verb {
        "ping" => ("pong", Duration::ZERO),
        "get" => ("got", WORK),
        _ => return None,
    };
    let (socket, figure) = (socket.try_clone().ok()?, figure.parse().ok()?);
    thread::spawn(move || {
        thread::sleep(work);
        write_line(Some(&socket), answer, figure);
    });
    Some(())
}

/// The firewall: forwards both ways, and forgets what was idle for too long.
fn forward(listener: &TcpListener, behind: SocketAddr, clock: Clock) -> io::Result<()> {
    for inside in listener.incoming() {
        let (inside, outside) = (inside?, TcpStream::connect(behind)?);
        let entry = Arc::new(Mutex::new(Some(clock.now())));
        let way_out = (inside.try_clone()?, outside.try_clone()?);
        for (from, to) in [way_out, (outside, inside)] {
            let entry = entry.clone();
            thread::spawn(move || filter(from, to, &entry, clock));
        }
    }
    Ok(())
}

/// One direction. The entry is when bytes last passed in either; once it is
/// gone nothing passes, not even an end.
fn filter(mut from: TcpStream, mut to: TcpStream, entry: &Mutex<Option<Instant>>, clock: Clock) {
    let mut bytes = [0; 1_024];
    loop {
        let len = from.read(&mut bytes).unwrap_or(0);
        let mut entry = entry.lock().expect("nobody panics with it");
        *entry = entry.filter(|passed| clock.now() <= *passed + FIREWALL_LIMIT);
        if let Some(passed) = &mut *entry {
            *passed = clock.now();
            match len {
                0 => to.shutdown(Shutdown::Write).ok(),
                _ => to.write_all(&bytes[..len]).ok(),
            };
        }
        if len == 0 {
            return;
        }
    }
}
