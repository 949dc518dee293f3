//! What the agent answers by itself.

use std::env;
use std::fs;
use std::time::{Duration, Instant};

use super::interfaces::{self, Shown};
use crate::text::span;

const HOSTNAME_BYTES_MAX: usize = 255;

/// The answer to what nobody answers.
pub(super) const NO_HANDLER: &str = "there is no handler for this notification; the agent itself \
                                     answers ping, version, uptime, hostname and host";

/// The machine, as far as the agent tells of it.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) hostname: String,
    started: Instant,
}

impl Machine {
    /// This machine, called `hostname` or what it calls itself.
    pub(super) fn here(hostname: Option<&str>) -> Self {
        let mut hostname = hostname.map_or_else(own_hostname, str::to_owned);
        while hostname.len() > HOSTNAME_BYTES_MAX {
            hostname.pop();
        }
        Self {
            hostname,
            started: Instant::now(),
        }
    }

    /// The answer to a notification's payload, if the agent itself has one.
    pub(super) fn answer(&self, payload: &[u8]) -> Option<String> {
        Some(match payload.trim_ascii() {
            b"ping" => "pong".to_owned(),
            b"version" => format!("tautline {}", env!("CARGO_PKG_VERSION")),
            b"hostname" => self.hostname.clone(),
            b"uptime" => {
                let agent = span(self.started.elapsed().as_secs());
                match machine_uptime() {
                    Some(machine) => {
                        format!("machine up {}, agent up {agent}", span(machine.as_secs()))
                    }
                    None => format!("agent up {agent}"),
                }
            }
            b"host" => self.facts(),
            _ => return None,
        })
    }

    /// One fact in a line.
    fn facts(&self) -> String {
        let mut facts = format!(
            "hostname: {}\nos: {}\narch: {}",
            self.hostname,
            env::consts::OS,
            env::consts::ARCH
        );
        for interface in interfaces::of_machine().unwrap_or_default() {
            facts.push_str(&format!("\ninterface: {}", Shown(interface)));
        }
        facts
    }
}

/// What the system says, by the ways there are without asking it in C.
fn own_hostname() -> String {
    let of_kernel = || fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let of_file = || fs::read_to_string("/etc/hostname").ok();
    let of_variable = |name: &str| env::var(name).ok();
    let found = of_kernel()
        .or_else(|| of_variable("COMPUTERNAME"))
        .or_else(|| of_variable("HOSTNAME"))
        .or_else(of_file)
        .unwrap_or_default();
    match found.trim() {
        "" => "unnamed".to_owned(),
        name => name.to_owned(),
    }
}

/// Linux only; elsewhere there is no file that says it.
fn machine_uptime() -> Option<Duration> {
    let text = fs::read_to_string("/proc/uptime").ok()?;
    let (seconds, _) = text.split_once('.')?;
    seconds.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_answers_what_it_knows() {
        let machine = Machine::here(Some("web-1"));
        let answer = |payload| machine.answer(payload).unwrap();
        assert_eq!(answer(b"ping"), "pong");
        assert_eq!(answer(b" ping\n"), "pong");
        assert_eq!(answer(b"hostname"), "web-1");
        assert!(answer(b"version").starts_with("tautline 0."));
        assert!(answer(b"uptime").ends_with("agent up 0 s"));
        for payload in [&b""[..], b"PING", b"reboot", b"\xff"] {
            assert_eq!(machine.answer(payload), None);
        }
    }

    #[test]
    fn the_facts_of_the_host_have_a_line_each() {
        let facts = Machine::here(Some("web-1")).answer(b"host").unwrap();
        let lines: Vec<&str> = facts.lines().collect();
        assert_eq!(lines[0], "hostname: web-1");
        assert_eq!(lines[1], format!("os: {}", env::consts::OS));
        assert_eq!(lines[2], format!("arch: {}", env::consts::ARCH));
        assert!(lines[3..].contains(&"interface: 127.0.0.1/8"), "{facts}");
    }

    #[test]
    fn a_machine_has_a_name_that_fits() {
        assert!(!Machine::here(None).hostname.is_empty());
        let long = "ä".repeat(200);
        assert_eq!(Machine::here(Some(&long)).hostname, "ä".repeat(127));
    }
}
