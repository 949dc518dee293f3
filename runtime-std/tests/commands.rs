//! The binary from outside: exit codes and what is said.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::collections::VecDeque;
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
fn a_variable_that_sets_nothing_of_the_agent_is_named() {
    let mut command = tautline(&["agent", "--check-config", "--relay", "::1"]);
    command.env("TAUTLINE_RELY_ADDRESSES", "::2");
    command.env("TAUTLINE_CLIENT_HOSTNAME", "web-1");
    let (code, out, error) = told(command.output().unwrap());
    let expected = "tautline: TAUTLINE_RELY_ADDRESSES: no setting of the agent has this name; it \
                    is left alone\n";
    assert_eq!((code, out.as_str(), error.as_str()), (0, "ok\n", expected));
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

/// A relay that answers each request line, and ends with the last answer.
fn relay_that(
    mut answer: impl FnMut(&str) -> Step + Send + 'static,
) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = move || {
        let mut requests = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            reader.read_exact(&mut body).unwrap();
            let request_line = head.lines().next().unwrap_or_default();
            let Step { text, is_last } = answer(request_line);
            requests.push(format!(
                "{request_line} {}",
                String::from_utf8(body).unwrap()
            ));
            let status = if text.contains("detail") {
                "404 Not Found"
            } else {
                "200 OK"
            };
            let length = text.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all((head + &text).as_bytes()).unwrap();
            if is_last {
                return requests;
            }
        }
    };
    (address, thread::spawn(serve))
}

/// An answer of such a relay.
struct Step {
    text: String,
    is_last: bool,
}

/// A relay of fixed answers, one for each connection.
fn relay(answers: &[&str]) -> (String, thread::JoinHandle<Vec<String>>) {
    let mut answers: VecDeque<_> = answers.iter().map(|answer| (*answer).to_owned()).collect();
    relay_that(move |_| Step {
        text: answers.pop_front().unwrap(),
        is_last: answers.is_empty(),
    })
}

type Told = (i32, String, String);

fn run_against(answers: &[&str], arguments: &[&str]) -> (Told, Vec<String>) {
    ask_of(relay(answers), arguments)
}

fn ask_of(
    (address, relay): (String, thread::JoinHandle<Vec<String>>),
    arguments: &[&str],
) -> (Told, Vec<String>) {
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
        r#"{"targets":2,"sent":2,"replied":2,"replies":[{"client":"c1","hostname":"web","payload":"one"}],"next":"c1"}"#,
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
    let target = "/v1/notifications/0a";
    assert_eq!(targets, [target, target, &format!("{target}?after=c1")]);
}

#[test]
fn a_query_names_who_is_missing() {
    let progress = |replied: u32, replies: &str| {
        format!(
            r#"{{"targets":24,"sent":24,"replied":{replied},"replies":[{replies}],"next":null}}"#
        )
    };
    let reply = r#"{"client":"c1","hostname":"web","payload":"one"}"#;
    let missing = |names: std::ops::Range<u32>, next: &str| {
        let row = |n| format!(r#"{{"client":"c{n}","hostname":"h{n}"}}"#);
        let rows: Vec<_> = names.map(row).collect();
        format!(r#"{{"missing":[{}],"next":{next}}}"#, rows.join(","))
    };
    // How often it looks before it asks who is missing is its own affair.
    let late = |pages: [String; 2]| {
        let mut pages = VecDeque::from(pages);
        let mut is_first = true;
        relay_that(move |request_line| {
            let text = if request_line.starts_with("POST ") {
                r#"{"notification":"0a"}"#.to_owned()
            } else if request_line.contains("/missing") {
                pages.pop_front().unwrap()
            } else if std::mem::take(&mut is_first) {
                progress(1, reply)
            } else {
                progress(1, "")
            };
            Step {
                text,
                is_last: pages.is_empty(),
            }
        })
    };
    let arguments = ["query", "--all", "--wait", "1", "name"];

    let relay = late([missing(2..12, "\"11\""), missing(12..22, "\"21\"")]);
    let ((code, out, error), requests) = ask_of(relay, &arguments);
    assert_eq!(code, 1, "{error}");
    assert!(
        error.ends_with("tautline: no reply from 23 within 1 s\n"),
        "{error}"
    );
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(
        lines[..2],
        ["web (c1): one", "notification 0a: 1 of 24 replied"]
    );
    assert_eq!(
        (lines[2], lines[21]),
        ("missing: h2 (c2)", "missing: h21 (c21)")
    );
    assert_eq!(lines[22..], ["missing: 3 more"]);
    let asked = requests.last().unwrap();
    assert!(
        asked.starts_with("GET /v1/notifications/0a/missing?after=11&limit=20 "),
        "{asked}"
    );

    let relay = late([missing(2..12, "\"11\""), missing(12..25, "null")]);
    let arguments = [&arguments[..], &["--json"]].concat();
    let ((code, out, _), _) = ask_of(relay, &arguments);
    assert_eq!((code, out.lines().count()), (1, 2));
    assert_eq!(out.lines().next(), Some(reply));
    assert!(
        out.contains(r#""missing":[{"client":"c2","hostname":"h2"},"#),
        "{out}"
    );
    assert!(out.ends_with(
        r#"],"notification":"0a","replied":1,"sent":24,"targets":24}
"#
    ));
    assert_eq!(out.matches("hostname\":\"h").count(), 23);
}

#[test]
fn a_query_that_all_answered_is_0_and_asks_for_no_names() {
    let answers = [
        r#"{"notification":"0a"}"#,
        r#"{"targets":1,"sent":1,"replied":1,"replies":[{"client":"c1","hostname":"web","payload":"one"}]}"#,
    ];
    let ((code, out, error), requests) = run_against(&answers, &["query", "--site", "berlin"]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert_eq!(out, "web (c1): one\nnotification 0a: 1 of 1 replied\n");
    assert!(
        requests[0].contains(r#""target":{"site":"berlin"}"#),
        "{requests:?}"
    );
}

#[test]
fn pages_are_joined() {
    let client = |name: &str, way: &str| {
        format!(
            r#"{{"client":"{name}","hostname":"h\u001b","address":"::1","subnet":null,"connection":"open","way":"{way}","registered_s_ago":5}}"#
        )
    };
    let pages = [
        format!(
            r#"{{"clients":[{}],"next":"7"}}"#,
            client("a", "connection")
        ),
        // A page may be empty and not the last.
        r#"{"clients":[],"next":"9"}"#.to_owned(),
        format!(r#"{{"clients":[{}],"next":null}}"#, client("b", "inbox")),
    ];
    let pages: Vec<_> = pages.iter().map(String::as_str).collect();
    let ((code, out, _), requests) = run_against(&pages, &["clients", "--state", "open"]);
    assert_eq!(code, 0);
    let expected = "CLIENT  HOSTNAME  ADDRESS  SUBNET  WAY         REGISTERED\n\
                    a       h\\u{1b}   ::1      -       connection  5 s ago\n\
                    b       h\\u{1b}   ::1      -       inbox only  5 s ago\n";
    assert_eq!(out, expected);
    assert!(
        requests[0].starts_with("GET /v1/clients?state=open "),
        "{requests:?}"
    );
    assert!(
        requests[1].starts_with("GET /v1/clients?after=7&state=open "),
        "{requests:?}"
    );
    let ((_, out, _), _) = run_against(&pages, &["clients", "--json"]);
    assert_eq!(out.lines().count(), 2);
    assert!(out.contains(r#""connection":"open""#), "{out}");

    let circle = [pages[0], pages[0]];
    let ((code, _, error), _) = run_against(&circle, &["clients"]);
    assert!(code == 1 && error.contains("circle"), "{error}");
}

#[test]
fn subnets_are_a_table() {
    let page = r#"{"subnets":[{"subnet":"10.0.0.0/24@203.0.113.7","clients":12,"connected":2,"granted":1}],"next":null}"#;
    let ((code, out, _), _) = run_against(&[page], &["subnets"]);
    assert_eq!(code, 0);
    let expected = "SUBNET                   CLIENTS  CONNECTED  GRANTED\n\
                    10.0.0.0/24@203.0.113.7  12       2          1\n";
    assert_eq!(out, expected);
    let none = r#"{"subnets":[],"next":null}"#;
    let ((_, out, _), _) = run_against(&[none], &["subnets"]);
    assert_eq!(out, "no subnets\n");
}

#[test]
fn what_was_learned_of_a_subnet_is_two_more_columns() {
    let row = |name: &str, heartbeat: &str| {
        format!(
            r#"{{"subnet":"{name}","clients":1,"connected":1,"granted":0,"heartbeat":{heartbeat}}}"#
        )
    };
    let learned = r#"{"period_ms":12500,"set_ms":60000,"before_ms":60000,"why":"shortened","deaths":3,"youngest_ms":25000,"oldest_ms":26500,"learned_s_ago":7}"#;
    let rows = [
        row("10.0.0.0/24", learned),
        row("10.0.1.0/24", r#"{"period_ms":60000}"#),
        row("10.0.2.0/24", "null"),
        row("10.0.3.0/24", r#"{"period_ms":60000,"why":"given_up"}"#),
    ];
    let page = format!(r#"{{"subnets":[{}],"next":null}}"#, rows.join(","));
    let ((code, out, _), _) = run_against(&[&page], &["subnets"]);
    assert_eq!(code, 0);
    let expected = "SUBNET       CLIENTS  CONNECTED  GRANTED  HEARTBEAT  LEARNED FROM\n\
                    10.0.0.0/24  1        1          0        12.5 s     3 deaths, idle for 25 s to 26.5 s\n\
                    10.0.1.0/24  1        1          0        1 min 0 s\n\
                    10.0.2.0/24  1        1          0\n\
                    10.0.3.0/24  1        1          0        1 min 0 s  deaths at any period\n";
    assert_eq!(out, expected);
}

#[test]
fn what_is_watched_is_shown_again_also_after_a_failure() {
    let answers = [
        r#"{"state":"serving"}"#,
        r#"{"title":"Service Unavailable","detail":"not now"}"#,
        r#"{"state":"draining"}"#,
    ];
    let (address, relay) = relay(&answers);
    let mut command = tautline(&["status", "--watch", "1", "--relay", &address]);
    command.env("TAUTLINE_TOKEN", "abc");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let shown: Vec<_> = lines.by_ref().take(4).map(Result::unwrap).collect();
    assert_eq!(shown, ["state  serving", "", "", "state  draining"]);
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    let told = told.next().unwrap().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(told.ends_with(": not now (status 404)"), "{told}");
    relay.join().unwrap();

    // What cannot be shown at all is not watched.
    let refusal = r#"{"detail":"no"}"#;
    let ((code, ..), _) = run_against(&[refusal], &["status", "--watch"]);
    assert_eq!(code, 1);
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
