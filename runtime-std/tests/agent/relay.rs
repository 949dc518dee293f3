//! A relay that asks the test what to answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Relay {
    pub(crate) address: String,
    asked: Receiver<Asked>,
}

/// A request. Dropped without an answer, its connection is closed.
pub(crate) struct Asked {
    /// `POST /v1/register`.
    pub(crate) what: String,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    answer: Sender<String>,
}

impl Relay {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tell, asked) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let tell = tell.clone();
                thread::spawn(move || serve(&stream.unwrap(), &tell));
            }
        });
        Self { address, asked }
    }

    /// The next request.
    pub(crate) fn next(&self) -> Asked {
        self.asked.recv_timeout(PATIENCE).expect("a request")
    }

    /// The next request, if one has come.
    pub(crate) fn try_next(&self) -> Option<Asked> {
        self.asked.try_recv().ok()
    }

    /// The next request, which has to be this one.
    pub(crate) fn expect(&self, what: &str) -> Asked {
        let asked = self.next();
        assert_eq!(asked.what, what);
        asked
    }

    /// Registers an agent, and gives it these notifications, numbered from 1;
    /// what it said of itself.
    pub(crate) fn admit(&self, payloads: &[&str]) -> Value {
        let asked = self.expect("POST /v1/register");
        let said = asked.json();
        asked.answer("200 OK", &registered(1, said.get("client").is_none()));
        let items: Vec<_> = (1_u64..).zip(payloads).map(item).collect();
        let inbox = json!({"incarnation": 1, "notifications": items});
        self.expect("GET /v1/inbox")
            .answer("200 OK", &inbox.to_string());
        said
    }

    /// The next reply: the notification's number and what was said.
    pub(crate) fn next_reply(&self) -> (u64, String) {
        let asked = self.next();
        let id = asked
            .what
            .strip_prefix("POST /v1/replies/")
            .expect("a reply");
        let number = u64::from_str_radix(id, 16).unwrap() & 0xffff_ffff;
        let said = String::from_utf8(asked.body.clone()).unwrap();
        asked.answer("204 No Content", "");
        (number, said)
    }
}

/// The answer to the registration of the `number`th client.
pub(crate) fn registered(number: u8, is_new: bool) -> String {
    let mut answer = json!({
        "protocol": 1,
        "client": format!("{number:032x}"),
        "incarnation": 1,
        "nonce": "02".repeat(16),
        "register_again_s": 21_600,
    });
    if is_new {
        answer["secret"] = format!("{number:02x}").repeat(32).into();
    }
    answer.to_string()
}

fn item((number, payload): (u64, &&str)) -> Value {
    use base64::Engine as _;
    let payload = base64::engine::general_purpose::STANDARD.encode(payload);
    json!({
        "notification": format!("{:016x}", 1_u64 << 32 | number),
        "lifetime_s": 3_600,
        "payload_base64": payload,
    })
}

impl Asked {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn answer(self, status: &str, body: &str) {
        let length = if status.starts_with("204") {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let answer = format!("HTTP/1.1 {status}\r\n{length}\r\n{body}");
        self.answer.send(answer).ok();
    }
}

/// One connection, until it is closed at either end.
fn serve(stream: &TcpStream, tell: &Sender<Asked>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        reader.read_exact(&mut body).ok()?;
        let what = head.lines().next()?.strip_suffix(" HTTP/1.1")?.to_owned();
        let (answer, answered) = channel();
        tell.send(Asked {
            what,
            head,
            body,
            answer,
        })
        .ok()?;
        let mut stream = stream;
        stream.write_all(answered.recv().ok()?.as_bytes()).ok()?;
    }
}
