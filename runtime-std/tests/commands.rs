//! The binary from outside: exit codes and what is said.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

fn tautline(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tautline"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    told(tautline(arguments).output().unwrap())
}

fn told(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    (code, text(output.stdout), text(output.stderr))
}

#[test]
fn a_wrong_command_line_is_2() {
    for arguments in [
        &["nothing"][..],
        &["agent", "--no-such-flag"],
        &["status", "--relay", "http://a b"],
        &["status", "--timeout", "0"],
        &["notify"],
        &["notify", "1234", "hello"],
    ] {
        let (code, out, error) = run(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {error}");
        assert!(!error.is_empty());
    }
}

#[test]
fn a_wrong_configuration_is_78() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("agent.toml");
    std::fs::write(&config, "[relay]\nadress = \"x\"\n").unwrap();
    let config = config.to_str().unwrap();
    let (code, _, error) = run(&["agent", "--check-config", "--config", config]);
    let expected = format!(
        "tautline: {config}:2:1: unknown field `adress`, expected one of `addresses`, `tls`, \
         `ca_file`, `secrets_over_plaintext`, `failover_after_s`, `reselect_interval_s`\n 2 | adress = \"x\"\n   | ^^^^^^\n"
    );
    assert_eq!((code, error), (78, expected));

    for arguments in [
        &["agent"][..],
        &["agent", "--relay", "::1", "--log", "loud"],
        &["agent", "--relay", "::1", "--log-format", "xml"],
        &["agent", "--relay", "a"],
        &["agent", "--relay", "https://a", "--ca", "/nowhere.pem"],
        &["agent", "--relay", "::1", "--config", "/nowhere.toml"],
        &["status", "--relay", "https://a", "--ca", "/nowhere.pem"],
    ] {
        let (code, _, error) = run(arguments);
        assert_eq!(code, 78, "{arguments:?}: {error}");
        assert!(
            error.starts_with("tautline: ") && error.lines().count() == 1,
            "{error}"
        );
    }
    for arguments in [
        &["--relay", "::1"][..],
        &["--relay", "a", "--secrets-over-plaintext"],
    ] {
        let (code, out, error) = run(&[&["agent", "--check-config"], arguments].concat());
        assert_eq!((code, out.as_str()), (0, "ok\n"), "{error}");
    }
}

#[test]
fn a_relay_that_cannot_be_asked_is_1() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let (code, _, error) = run(&["status", "--data-dir", data]);
    assert_eq!(code, 1);
    assert!(error.contains("operator-token: No such file"), "{error}");

    std::fs::write(dir.path().join("operator-token"), "abc\n").unwrap();
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let relay = closed.local_addr().unwrap().to_string();
    drop(closed);
    let (code, _, error) = run(&["clients", "--data-dir", data, "--relay", &relay]);
    assert_eq!(code, 1);
    let expected = format!("tautline: http://{relay}: connection refused; is the relay running?\n");
    assert_eq!(error, expected);
}

/// A relay of fixed answers, one for each connection.
fn relay(answers: Vec<String>) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = move |answer: String| {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        reader.read_exact(&mut body).unwrap();
        let status = if answer.contains("detail") {
            "404 Not Found"
        } else {
            "200 OK"
        };
        let head_of_answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        stream
            .write_all((head_of_answer + &answer).as_bytes())
            .unwrap();
        let request_line = head.lines().next().unwrap_or_default();
        format!("{request_line} {}", String::from_utf8(body).unwrap())
    };
    (
        address,
        thread::spawn(move || answers.into_iter().map(serve).collect()),
    )
}

fn run_against(answers: &[&str], arguments: &[&str]) -> ((i32, String, String), Vec<String>) {
    let (address, relay) = relay(answers.iter().map(|answer| (*answer).to_owned()).collect());
    let mut command = tautline(arguments);
    command
        .args(["--relay", &address])
        .env("TAUTLINE_TOKEN", "abc");
    let told = told(command.output().unwrap());
    (told, relay.join().unwrap())
}

#[test]
fn replies_are_followed() {
    let answers = [
        r#"{"notification":"0a"}"#,
        r#"{"targets":2,"sent":2,"replied":0,"replies":[],"next":null}"#,
        r#"{"targets":2,"sent":2,"replied":2,"replies":[{"client":"c1","hostname":"web","payload":"one"}],"next":"1"}"#,
        r#"{"targets":2,"sent":2,"replied":2,"replies":[{"client":"c2","hostname":null,"payload_base64":"/wA="}]}"#,
    ];
    let ((code, out, error), requests) = run_against(&answers, &["notify", "--all", "hello"]);
    assert_eq!(error, "");
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "web (c1): one\nc2: base64 /wA=\nnotification 0a: 2 of 2 replied\n"
    );
    let body = r#"{"lifetime_s":3600,"payload":"hello","target":{"all":true}}"#;
    assert_eq!(
        requests[0],
        format!("POST /v1/notifications HTTP/1.1 {body}")
    );
    let targets: Vec<_> = requests[1..]
        .iter()
        .map(|r| r.split(' ').nth(1).unwrap())
        .collect();
    let target = |after| format!("/v1/notifications/0a?after={after}");
    assert_eq!(targets, [target(0), target(0), target(1)]);
}

#[test]
fn pages_are_joined() {
    let client = |name: &str| {
        format!(
            r#"{{"client":"{name}","hostname":"h\u001b","address":"::1","connected":true,"registered_s_ago":5}}"#
        )
    };
    let pages = [
        format!(r#"{{"clients":[{}],"next":"7"}}"#, client("a")),
        format!(r#"{{"clients":[{}],"next":null}}"#, client("b")),
    ];
    let pages = [pages[0].as_str(), &pages[1]];
    let ((code, out, _), requests) = run_against(&pages, &["clients"]);
    assert_eq!(code, 0);
    let expected = "CLIENT  HOSTNAME  ADDRESS  LINE  REGISTERED\n\
                    a       h\\u{1b}   ::1      open  5 s ago\n\
                    b       h\\u{1b}   ::1      open  5 s ago\n";
    assert_eq!(out, expected);
    assert!(
        requests[1].starts_with("GET /v1/clients?after=7 "),
        "{requests:?}"
    );
    let ((_, out, _), _) = run_against(&pages, &["clients", "--json"]);
    assert_eq!(out.lines().count(), 2);
}

#[test]
fn a_refusal_is_told_in_the_relays_words() {
    let problem = r#"{"title":"Not Found","status":404,"detail":"No such client."}"#;
    let client = "00000000000000000000000000000000";
    let ((code, _, error), _) = run_against(&[problem], &["notify", client]);
    assert_eq!(code, 1);
    assert!(
        error.ends_with(": No such client. (status 404)\n"),
        "{error}"
    );
}

#[cfg(unix)]
#[test]
fn the_agent_ends_on_a_signal() {
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let relay = closed.local_addr().unwrap().to_string();
    drop(closed);
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let arguments = [
            "agent",
            "--relay",
            &relay,
            "--data-dir",
            data.to_str().unwrap(),
        ];
        let mut command = tautline(&arguments);
        let mut agent = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(agent.stderr.take().unwrap()).lines();
        wait_for(&mut lines, "no connection: connection refused");
        assert_folder_is_taken(&arguments, &data);
        let pid = rustix::process::Pid::from_child(&agent);
        rustix::process::kill_process(pid, signal).unwrap();
        wait_for(&mut lines, "the agent has ended");
        assert_eq!(agent.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn an_agent_that_cannot_read_its_identity_ends() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent/client.json");
    let data = dir.path().to_str().unwrap();
    let arguments = ["agent", "--relay", "127.0.0.1:1", "--data-dir", data];
    let run_into = || {
        let mut agent = tautline(&arguments).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(agent.stderr.take().unwrap()).lines();
        let mut lines = lines.map(Result::unwrap);
        let is_news = |line: &String| {
            line.starts_with("tautline: ") || line.contains("WARN") || line.contains("ERROR")
        };
        let told = lines.find(is_news).unwrap();
        if !told.starts_with("tautline: ") {
            // It lives on, and does not end by itself.
            agent.kill().unwrap();
        }
        (agent.wait().unwrap().code(), told)
    };
    let ends_with_advice = |what: &str| {
        let (code, told) = run_into();
        let expected = format!("tautline: {}: the agent's identity {what}", file.display());
        assert!(told.starts_with(&expected), "{told}");
        assert!(told.contains("remove it"), "{told}");
        assert_eq!(code, Some(1));
    };
    // What is longer than any identity is not even read.
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    std::fs::write(&file, vec![b' '; 1 << 20]).unwrap();
    ends_with_advice("cannot be read: ");
    std::fs::write(&file, "{").unwrap();
    ends_with_advice("is damaged; ");
    std::fs::remove_file(&file).unwrap();
    let (_, told) = run_into();
    assert!(told.contains("no connection"), "{told}");
}

#[test]
fn an_agent_whose_identity_the_relay_does_not_accept_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent/client.json");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    let (client, secret) = ("01".repeat(16), "06".repeat(32));
    let identity =
        format!(r#"{{"identity":{{"client":"{client}","secret":"{secret}"}},"registration":41}}"#);
    std::fs::write(&file, identity).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let relay = listener.local_addr().unwrap().to_string();
    let refuse = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = BufReader::new(stream.try_clone().unwrap()).lines();
        assert!(head.next().unwrap().unwrap().contains("/v1/register"));
        stream
            .write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        stream
    });
    let data = dir.path().to_str().unwrap();
    let mut command = tautline(&["agent", "--relay", &relay, "--data-dir", data]);
    let mut agent = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(agent.stderr.take().unwrap()).lines();
    let told = lines.find_map(|line| {
        let line = line.unwrap();
        let is_next = line.contains("failed; it is tried again");
        is_next.then_some(line)
    });
    assert!(told.unwrap().contains("status 401"));
    let advice = lines.next().unwrap().unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
    refuse.join().unwrap();
    let path = format!("remove {} to", file.display());
    assert!(
        advice.contains("belongs to another relay") && advice.contains(&path),
        "{advice}"
    );
}

#[cfg(unix)]
fn wait_for(lines: &mut impl Iterator<Item = std::io::Result<String>>, end: &str) {
    assert!(lines.any(|line| line.unwrap().contains(end)), "{end}");
}

#[cfg(unix)]
fn assert_folder_is_taken(arguments: &[&str], data: &Path) {
    let (code, _, error) = run(arguments);
    let folder = data.join("agent");
    let expected = format!("{}: another process uses this folder\n", folder.display());
    assert!(code == 1 && error.ends_with(&expected), "{error}");
}
