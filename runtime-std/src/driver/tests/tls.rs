//! Connections under TLS.

use super::*;
use crate::tls::{ClientConfig, Roots, ServerConfig, Session};

/// A certificate for `localhost` in files.
struct Certificate {
    _dir: tempfile::TempDir,
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificate {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let write = |name: &str, content: String| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        Self {
            certificate: write("cert.pem", made.cert.pem()),
            key: write("key.pem", made.signing_key.serialize_pem()),
            _dir: dir,
        }
    }

    fn client(&self) -> Option<ClientConfig> {
        Some(client_of(&self.certificate))
    }

    fn session(&self) -> Session {
        Session::server(&ServerConfig::load(&self.certificate, &self.key).unwrap()).unwrap()
    }
}

fn client_of(certificate: &Path) -> ClientConfig {
    let file = Some(certificate.to_path_buf());
    ClientConfig::load(&Roots { file }).unwrap()
}

/// One side of a connection, blocking.
struct Secure {
    session: Session,
    stream: TcpStream,
    /// What came and the session has not taken: it takes no more while a full
    /// record waits to be read.
    held: Vec<u8>,
}

impl Secure {
    fn new(session: Session, stream: TcpStream) -> Self {
        Self {
            session,
            stream,
            held: Vec::new(),
        }
    }

    fn flush(&mut self) {
        self.session.drain_ciphertext(&mut self.stream).unwrap();
    }

    fn write_all(&mut self, mut bytes: &[u8]) {
        while self.session.is_handshaking() {
            self.feed();
        }
        while !bytes.is_empty() {
            let count = self.session.write_plaintext(bytes);
            bytes = &bytes[count..];
            self.flush();
        }
    }

    /// Reads until the peer says that it has ended.
    fn read_to_end(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buf = [0; 5_000];
        loop {
            match self.session.read_plaintext(&mut buf) {
                0 if self.session.has_peer_closed() => return all,
                0 => self.feed(),
                count => all.extend_from_slice(&buf[..count]),
            }
        }
    }

    /// Brings the session on by at least a byte. Nothing waits to be read.
    fn feed(&mut self) {
        if self.held.is_empty() {
            let mut buf = [0; 3_000];
            let count = self.stream.read(&mut buf).unwrap();
            assert!(count > 0, "cut off");
            self.held.extend_from_slice(&buf[..count]);
        }
        let taken = self.session.feed(&self.held).unwrap();
        assert!(taken > 0, "the session is stuck");
        self.held.drain(..taken);
        self.flush();
    }
}

#[test]
fn a_full_record_waits_for_its_reader_and_holds_up_nothing_else() {
    let certificate = Certificate::new();
    let session = certificate.session();
    let peer = Peer::start(move |stream| {
        let mut secure = Secure::new(session, stream);
        secure.write_all(b"");
        assert!(secure.read_to_end() == pattern(200_000));
    });
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, peer.port)).unwrap();
    let config = client_of(&certificate.certificate);
    let mut client = Secure::new(Session::client(&config, "localhost").unwrap(), stream);
    client.flush();
    // Each record is full, and ends within what the peer reads at a time.
    client.write_all(&pattern(200_000));
    client.session.close_notify();
    client.flush();
    peer.join();
}

#[test]
fn a_body_goes_to_a_file_and_back_under_tls() {
    let certificate = Certificate::new();
    let session = certificate.session();
    let body = pattern(300_000);
    let sent = body.clone();
    let peer = Peer::start(move |stream| {
        let mut secure = Secure::new(session, stream);
        secure.write_all(b"head:");
        secure.write_all(&sent);
        secure.write_all(b":tail");
        secure.session.close_notify();
        secure.flush();
        let echoed = secure.read_to_end();
        assert_eq!(&echoed[..6], b"begin:");
        assert!(echoed[6..200_006] == sent[50_000..250_000]);
        assert_eq!(&echoed[200_006..], b":end");
    });
    let mut bench = Bench::with(certificate.client(), Vec::new(), DriverLimits::default());
    bench.want(peer.connect(true));
    storage::move_body(&mut bench);
    peer.join();
    let stored = std::fs::read(bench.dir.path().join("body")).unwrap();
    assert!(stored[3..] == body);
}

#[test]
fn a_stranger_is_no_connection() {
    let (certificate, other) = (Certificate::new(), Certificate::new());
    let session = certificate.session();
    let peer = Peer::start(move |mut stream| {
        let mut session = session;
        let mut buf = [0; 4_000];
        while let Ok(count @ 1..) = stream.read(&mut buf) {
            if session.feed(&buf[..count]).is_err() {
                return;
            }
            let _ = session.drain_ciphertext(&mut stream);
        }
    });
    let mut bench = Bench::with(other.client(), Vec::new(), DriverLimits::default());
    bench.want(peer.connect(true));
    bench.run(|_, _| ControlFlow::Break(()));
    assert_eq!(bench.facts, [Fact::ConnectFailed(ConnectError::Tls)]);
    peer.join();
}

#[test]
fn an_end_without_notice_is_a_loss() {
    let certificate = Certificate::new();
    let session = certificate.session();
    let peer = Peer::start(move |stream| {
        let mut secure = Secure::new(session, stream);
        secure.write_all(b"half a");
        secure.stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        let _ = secure.stream.read_to_end(&mut rest);
    });
    let mut bench = Bench::with(certificate.client(), Vec::new(), DriverLimits::default());
    bench.want(peer.connect(true));
    bench.run(|_, fact| break_if(matches!(fact, Fact::Closed(_))));
    assert_eq!(bench.facts.last(), Some(&Fact::Closed(CloseReason::Reset)));
    assert!(!bench.facts.contains(&Fact::Eof));
    assert_eq!(bench.received(), b"half a");
    peer.join();
}

#[test]
fn a_handshake_that_stalls_is_given_up() {
    let certificate = Certificate::new();
    let peer = Peer::start(|mut stream| {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
    });
    let mut bench = Bench::with(certificate.client(), Vec::new(), DriverLimits::default());
    bench.driver.limits.connect_timeout = Duration::from_millis(1);
    bench.want(peer.connect(true));
    bench.run(|_, _| ControlFlow::Break(()));
    assert_eq!(bench.facts, [Fact::ConnectFailed(ConnectError::TimedOut)]);
    drop(bench);
    peer.join();
}
