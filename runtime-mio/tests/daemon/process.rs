//! A `tautlined` of a test's own, and HTTP to talk to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

pub(crate) fn tautlined() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tautlined"));
    command.env_clear();
    command
}

/// Runs the daemon where it is expected to end by itself.
pub(crate) fn run(arguments: &[&str]) -> (i32, String, String) {
    let output: Output = tautlined().args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    (code, text(output.stdout), text(output.stderr))
}

/// A daemon that serves on a port of its own.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    pub(crate) greeting: String,
}

impl Daemon {
    pub(crate) fn start(dir: &Path, arguments: &[&str]) -> Self {
        let mut child = tautlined()
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let (base, token) = first.split_once("/#token=").unwrap();
        let address = base.split_once("://").unwrap().1.parse().unwrap();
        let token = token.to_owned();
        // The rest is written at once with it.
        let rest: Vec<_> = lines.take(3).map(Result::unwrap).collect();
        Self {
            child,
            address,
            token,
            greeting: rest.join("\n"),
        }
    }

    /// A daemon with settings of its own, as a file has them.
    pub(crate) fn configured(dir: &Path, settings: &str) -> Self {
        let file = dir.join("tautlined.toml");
        std::fs::write(&file, settings).unwrap();
        Self::start(dir, &["--config", file.to_str().unwrap()])
    }

    pub(crate) fn signal(&self, signal: i32) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let signal = rustix::process::Signal::from_named_raw(signal).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end; the exit code and the log.
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }

    /// Reads the log until a line has the text.
    pub(crate) fn wait_for_log(&mut self, text: &str) -> String {
        let stderr = self.child.stderr.as_mut().unwrap();
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            assert_eq!(
                stderr.read(&mut byte).unwrap(),
                1,
                "the log ended before {text:?}"
            );
            line.push(byte[0]);
            if byte[0] == b'\n' {
                let whole = String::from_utf8(std::mem::take(&mut line)).unwrap();
                if whole.contains(text) {
                    return whole;
                }
            }
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, Some(&self.token), "")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, Some(&self.token), body)
    }

    pub(crate) fn ask(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> Answer {
        let mut stream = self.connect();
        let authorization = token.map_or_else(String::new, |token| {
            format!("Authorization: Bearer {token}\r\n")
        });
        let length = match method {
            "POST" => format!("Content-Length: {}\r\n", body.len()),
            _ => String::new(),
        };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n{authorization}{length}\r\n{body}"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        stream
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended already cannot be ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn has_header(&self, header: &str) -> bool {
        self.head.lines().any(|line| line == header)
    }
}
