//! The identity and the registrations' numbers survive `kill -9`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::Value;

use crate::process::{Agent, agent, log};
use crate::relay::{Asked, Relay, registered};

const KILLS: usize = 20;

/// What the relay has seen.
#[derive(Default)]
struct Seen {
    /// The newest number of a registration.
    registration: u64,
    /// Clients that were enrolled.
    enrolled: u8,
    /// The identity that the agent has proven to have taken.
    client: Option<String>,
}

impl Seen {
    /// A registration comes; the answer to it.
    fn registration(&mut self, asked: &Asked) -> String {
        assert_eq!(asked.what, "POST /v1/register");
        let said = asked.json();
        let number = said["registration"].as_u64().unwrap();
        assert!(number > self.registration, "{number} was used before");
        self.registration = number;
        let Some(client) = said["client"].as_str() else {
            assert_eq!(self.client, None, "the identity is lost");
            self.enrolled += 1;
            return registered(self.enrolled, true);
        };
        assert!(self.client.as_deref().is_none_or(|known| known == client));
        // It was written before it was used.
        self.client = Some(client.to_owned());
        registered(u8::from_str_radix(&client[30..], 16).unwrap(), false)
    }

    /// The inbox is asked for: a use of the identity.
    fn inbox(&mut self, asked: &Asked) {
        assert_eq!(asked.what, "GET /v1/inbox");
        let (_, rest) = asked.head.split_once("client=").unwrap();
        let client = &rest[..32];
        assert!(self.client.as_deref().is_none_or(|known| known == client));
        self.client = Some(client.to_owned());
    }

    /// What is on the disk after a kill: whole, and not behind what was seen.
    fn check_file(&self, data: &Path) {
        let Ok(text) = fs::read(data.join("agent/client.json")) else {
            assert_eq!(self.registration, 0, "nothing is used before it is written");
            return;
        };
        let kept: Value = serde_json::from_slice(&text).unwrap();
        assert!(kept["registration"].as_u64().unwrap() >= self.registration);
        if let Some(client) = &self.client {
            assert_eq!(kept["identity"]["client"], client.as_str());
        }
    }
}

/// Kills at another moment each time.
fn run_and_kill(round: usize, relay: &Relay, data: &Path, seen: &mut Seen) {
    // An earlier kill may have left one.
    let draft = || fs::metadata(data.join("agent/client.json.new")).ok();
    let draft = || draft().map(|file| (file.ino(), file.ctime(), file.ctime_nsec()));
    let earlier = draft();
    let mut running = Agent::start(&mut agent(&relay.address, data), data);
    let moment = round % 5;
    if moment == 4 {
        // While the number is being written, if it can be caught.
        while draft().is_none_or(|new| Some(new) == earlier) {
            assert!(!running.has_ended(), "{}", log(data));
            if let Some(asked) = relay.try_next() {
                seen.registration(&asked);
                break;
            }
        }
        return running.kill();
    }
    let asked = relay.next();
    let answer = seen.registration(&asked);
    if moment == 0 {
        return running.kill();
    }
    asked.answer("200 OK", &answer);
    if moment == 1 {
        // While the identity is being written, perhaps.
        return running.kill();
    }
    let asked = relay.next();
    seen.inbox(&asked);
    if moment == 2 {
        return running.kill();
    }
    asked.answer("200 OK", r#"{"incarnation":1,"notifications":[]}"#);
    running.kill();
}

#[test]
fn no_kill_loses_the_identity_or_uses_a_number_twice() {
    let data = tempfile::tempdir().unwrap();
    let mut seen = Seen::default();
    for round in 0..KILLS {
        // Its own, so that no request of a dead agent is taken for another's.
        let relay = Relay::start();
        run_and_kill(round, &relay, data.path(), &mut seen);
        // A request may have come just before the end; it is as if unheard.
        while let Some(asked) = relay.try_next() {
            if asked.what == "POST /v1/register" {
                seen.registration(&asked);
            } else {
                seen.inbox(&asked);
            }
        }
        seen.check_file(data.path());
    }
    assert!(seen.registration >= 16, "{}", seen.registration);
    assert!(seen.client.is_some() && seen.enrolled <= 3);
    assert!(!log(data.path()).contains("ERROR"), "{}", log(data.path()));
}
