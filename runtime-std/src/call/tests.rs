use super::*;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

/// A server of one connection: reads a request of `request_len` bytes at least,
/// then answers `answer`. Returns what it read.
fn serve(
    answer: &'static [u8],
    request_end: &'static [u8],
) -> (Origin, thread::JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let origin = Origin {
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr().unwrap().port(),
        tls: false,
    };
    let serve = move || {
        let mut stream = listener.accept().unwrap().0;
        let request = read_until(&mut stream, request_end);
        for byte in answer {
            stream.write_all(&[*byte]).unwrap();
        }
        request
    };
    (origin, thread::spawn(serve))
}

fn read_until(stream: &mut TcpStream, end: &[u8]) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(end) && stream.read(&mut byte).unwrap() == 1 {
        request.push(byte[0]);
    }
    String::from_utf8(request).unwrap()
}

fn caller(origin: Origin) -> Caller {
    Caller {
        origin,
        tls: None,
        token: Some(Secret::new("abc")),
        sends_token_in_clear: false,
        timeout: Duration::from_secs(60),
    }
}

#[test]
fn an_answer_comes_whole() {
    let (origin, server) = serve(
        b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n\
          Transfer-Encoding: chunked\r\n\r\n2\r\n{\"\r\n3\r\na\":\r\n2\r\n1}\r\n0\r\n\r\n",
        b"}",
    );
    let answer = caller(origin.clone()).call("POST", "/v1/x", b"{}").unwrap();
    assert_eq!(answer.status, 201);
    assert_eq!(answer.content_type.as_deref(), Some("application/json"));
    assert_eq!(answer.body, b"{\"a\":1}");
    let request = server.join().unwrap();
    assert!(request.starts_with("POST /v1/x HTTP/1.1\r\n"), "{request}");
    for line in [
        &format!("Host: {}", origin.authority()),
        "Authorization: Bearer abc",
        "Content-Length: 2",
        "Connection: close",
    ] {
        assert!(request.contains(&format!("\r\n{line}\r\n")), "{request}");
    }
}

#[test]
fn failures_are_told_apart() {
    let cases: [(&[u8], &str); 3] = [
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
            "cut short",
        ),
        (b"", "ended before the response"),
        (b"NOT HTTP\r\n\r\n", "malformed"),
    ];
    for (answer, expected) in cases {
        let (origin, server) = serve(answer, b"\r\n\r\n");
        let error = caller(origin)
            .call("GET", "/", b"")
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
        server.join().unwrap();
    }
    let (mut origin, server) = serve(b"", b"\r\n\r\n");
    let error = caller(origin.clone())
        .call("GET", "no path", b"")
        .unwrap_err();
    assert!(matches!(error, CallError::Request(_)), "{error}");
    server.join().unwrap();
    // Nobody listens there any more.
    let error = caller(origin.clone()).call("GET", "/", b"").unwrap_err();
    assert!(
        matches!(error, CallError::Connect(ConnectError::Refused)),
        "{error}"
    );
    origin.host = "not a name".to_owned();
    let error = caller(origin).call("GET", "/", b"").unwrap_err();
    assert!(
        matches!(error, CallError::Connect(ConnectError::Unresolved)),
        "{error}"
    );
}

#[test]
fn a_silent_server_is_given_up() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut caller = caller(Origin {
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr().unwrap().port(),
        tls: false,
    });
    caller.timeout = Duration::from_millis(5);
    let error = caller.call("GET", "/", b"").unwrap_err();
    assert!(error.to_string().contains("in time"), "{error}");
}

#[test]
fn tls_carries_a_call() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = tls::ServerConfig::load(&certificate, &key).unwrap();
    let server = thread::spawn(move || {
        let stream = listener.accept().unwrap().0;
        let session = tls::Session::server(&config).unwrap();
        let mut wire = Wire::new(stream, Some(session), Clock::start());
        wire.shake_hands(Instant::MAX).unwrap();
        let mut request = Vec::new();
        let mut buf = [0; 100];
        while !request.ends_with(b"\r\n\r\n") {
            if let Read::Bytes(count) = wire.read(&mut buf, Instant::MAX).unwrap() {
                request.extend_from_slice(&buf[..count]);
            }
        }
        wire.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .unwrap();
    });
    let roots = tls::Roots {
        file: Some(certificate),
    };
    let origin = Origin {
        host: "127.0.0.1".to_owned(),
        port,
        tls: true,
    };
    let mut caller = caller(origin);
    caller.tls = Some(tls::ClientConfig::load(&roots).unwrap());
    assert_eq!(caller.call("GET", "/", b"").unwrap().body, b"ok");
    server.join().unwrap();
}
