//! The first session of the README, with the programs as processes: a relay,
//! an agent that UDP reaches and one that it does not, and the operator's
//! commands; then a relay that is killed and comes back, and the end of all.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tautline_std::call::Caller;
use tautline_std::private::Secret;
use tautline_tests::session::{start_agent, start_relay, tautline};
use tautline_tests::wait_for;

#[test]
fn the_first_session_works_and_survives_a_killed_relay() {
    let data = tempfile::tempdir().unwrap();
    let (relay, base) = start_relay("127.0.0.1:0", data.path(), "");
    let operator = Operator {
        data: data.path(),
        base: &base,
    };

    let mut first = start_agent(&base, data.path(), "first", &[]);
    first.wait_for_log("datagrams reach this machine");
    let by_udp = operator.wait_for_clients(["UDP"]).remove(0);
    operator.notify_one(&by_udp);
    let uptime = operator.succeed(&["query", "--all", "uptime"]);
    assert!(uptime.contains(&format!(" ({by_udp}): machine up ")));
    assert!(uptime.ends_with(": 1 of 1 replied\n"), "{uptime}");
    operator.call_with_token(&by_udp);

    let own = data.path().join("second");
    let flags = ["--udp-port", "off", "--data-dir", own.to_str().unwrap()];
    let mut agent = start_agent(&base, data.path(), "second", &flags);
    agent.wait_for_log("the line is open");
    let clients = operator.wait_for_clients(["UDP", "connection"]);
    assert_eq!(clients[0], by_udp);
    let client = &clients[1];
    let hostnames = operator.succeed(&["query", "--all", "hostname"]);
    for client in &clients {
        assert!(hostnames.contains(&format!(" ({client}): ")), "{hostnames}");
    }
    assert!(hostnames.ends_with(": 2 of 2 replied\n"), "{hostnames}");
    operator.check_status();
    let (status, log) = first.terminate();
    assert_eq!(status.code(), Some(0), "{log}");

    // Held, so that it does not come while no relay is there: then it would
    // rest for minutes.
    agent.signal(Signal::STOP);
    relay.kill();
    let refused = operator.run(&["clients"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");

    let address = base.strip_prefix("http://").unwrap();
    let (relay, base_again) = start_relay(address, data.path(), "");
    assert_eq!(base_again, base);
    agent.signal(Signal::CONT);
    let back = operator.wait_for_clients(["connection"]);
    assert_eq!(&back[0], client, "the agent is another now");
    operator.notify_one(client);

    let (status, log) = relay.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("drained"), "{log}");
    let (status, log) = agent.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("the agent has ended"), "{log}");
}

/// A process that is stopped holds its connections, and says nothing.
#[test]
fn h1_an_agent_leaves_a_relay_that_is_silent_and_says_so() {
    let data = tempfile::tempdir().unwrap();
    let (relay, base) = start_relay("127.0.0.1:0", data.path(), "");
    let agent = |name: &str, heartbeats: &[&str]| {
        let own = data.path().join(name);
        let flags = ["--udp-port", "off", "--data-dir", own.to_str().unwrap()];
        let mut agent = start_agent(&base, data.path(), name, &[&flags, heartbeats].concat());
        agent.wait_for_log("the line is open");
        agent
    };
    let mut asks = agent("asks", &["--heartbeat-period", "1"]);
    let mut listens = agent("listens", &["--heartbeat=10", "--heartbeat-frequency=1"]);
    // What is alive is not left: after so many answers a probe of which none
    // came would have ended the line.
    let operator = Operator {
        data: data.path(),
        base: &base,
    };
    wait_for("answered probes", || (operator.pings() >= 7).then_some(()));
    assert!(!asks.log().contains("silent"), "{}", asks.log());

    relay.signal(Signal::STOP);
    let told = asks.wait_for_log("the relay was silent for too long");
    assert!(told.contains(r#"rule="response_timeout""#), "{told}");
    assert!(told.contains(&format!("relay={base} ")), "{told}");
    assert!(told.contains(" silent_s="), "{told}");
    let told = listens.wait_for_log("the relay was silent for too long");
    assert!(told.contains(r#"rule="heartbeat""#), "{told}");
    assert!(told.contains(" silent_s=1"), "{told}");
    assert!(
        !asks.log().contains("the line is gone"),
        "it is told once: {}",
        asks.log()
    );
}

/// The operator's commands, as the README types them.
struct Operator<'a> {
    data: &'a Path,
    base: &'a str,
}

impl Operator<'_> {
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = tautline(self.data);
        // A relay on the usual port need not be named.
        command.env("TAUTLINE_RELAY", self.base).args(arguments);
        command.output().unwrap()
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Looks until the clients that are shown have these ways, in this order;
    /// their ids.
    fn wait_for_clients<const N: usize>(&self, ways: [&str; N]) -> Vec<String> {
        wait_for(format_args!("clients with the ways {ways:?}"), || {
            let seen = self.succeed(&["clients"]);
            let rows = seen.lines().skip(1).map(|row| {
                let columns: Vec<&str> = row.split_whitespace().collect();
                match columns[..] {
                    [id, _, "127.0.0.1", "127.0.0.0/8", way, ..] => (id.to_owned(), way),
                    _ => panic!("{seen}"),
                }
            });
            let (ids, shown): (Vec<String>, Vec<&str>) = rows.unzip();
            (shown == ways).then_some(ids)
        })
    }

    fn get(&self, target: &str) -> Vec<u8> {
        let token = std::fs::read_to_string(self.data.join("operator-token")).unwrap();
        let caller = Caller {
            origin: self.base.parse().unwrap(),
            tls: None,
            token: Some(Secret::new(token.trim())),
            sends_token_in_clear: false,
            timeout: Duration::from_secs(10),
        };
        let answer = caller.call("GET", target, b"").unwrap();
        assert_eq!(answer.status, 200);
        answer.body
    }

    /// Probes of agents that the relay answered.
    fn pings(&self) -> u64 {
        let text = String::from_utf8(self.get("/metrics")).unwrap();
        let mut lines = text.lines();
        let figure = lines.find_map(|line| line.strip_prefix("tautline_pings_total "));
        figure.unwrap().parse().unwrap()
    }

    /// What the README does with curl.
    fn call_with_token(&self, client: &str) {
        let page: Value = serde_json::from_slice(&self.get("/v1/clients")).unwrap();
        let [told] = &page["clients"].as_array().unwrap()[..] else {
            panic!("{page}");
        };
        assert_eq!(told["client"], client);
        assert_eq!(told["way"], "datagram");
        assert_eq!(told["udp_proven"], true);
        assert_eq!(told["connection"], "none");
    }

    /// The figures that the README shows, but for the moments.
    fn check_status(&self) {
        let shown = self.succeed(&["status"]);
        for (figure, value) in [
            ("clients", "2"),
            ("notifications made", "3"),
            ("notifications replies", "4"),
            ("notifications sent connection", "1"),
            ("notifications sent datagram", "3"),
            ("persistent connections granted", "0"),
            ("persistent connections open", "1"),
            ("persistent connections verdicts granted", "2"),
            ("state", "serving"),
            ("subnets", "1"),
            ("tests proven", "1"),
        ] {
            let mut lines = shown.lines();
            let found = lines.any(|line| {
                let behind = line.strip_prefix(figure);
                behind.is_some_and(|rest| rest.starts_with("  ") && rest.trim() == value)
            });
            assert!(found, "{figure} {value}: {shown}");
        }
    }

    fn notify_one(&self, client: &str) {
        let told = self.succeed(&["notify", client, "ping"]);
        let lines: Vec<&str> = told.lines().collect();
        let [reply, sum] = lines[..] else {
            panic!("{told}");
        };
        assert!(reply.ends_with(&format!(" ({client}): pong")), "{told}");
        assert!(sum.starts_with("notification "), "{told}");
        assert!(sum.ends_with(": 1 of 1 replied"), "{told}");
    }
}
