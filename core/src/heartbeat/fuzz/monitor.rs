//! Silence against a list.

use alloc::vec::Vec;
use core::time::Duration;

use super::Awake;
use crate::collections::model::Script;
use crate::heartbeat::{Ended, Monitor, MonitorSettings, Rule, WatchError};
use crate::{Instant, Key, Machine};

const CONNECTIONS: u32 = 6;

/// Any bytes as operations on a monitor.
pub fn monitor(data: &[u8]) {
    let _ = run(&mut Script(data));
}

fn run(script: &mut Script<'_>) -> Option<()> {
    let heartbeat = u64::from(script.byte()? % 20);
    let frequency = u64::from(script.byte()? % 20);
    let settings = MonitorSettings {
        heartbeat: Duration::from_secs(heartbeat),
        frequency: Duration::from_secs(frequency),
        connections_max: CONNECTIONS,
    };
    let mut pair = Pair {
        monitor: Monitor::new(settings).unwrap(),
        list: Vec::new(),
        heartbeat: heartbeat * 1_000,
        frequency: frequency * 1_000,
        check_at: None,
        time: Awake::NEW,
        ended: 0,
        generation: 0,
    };
    loop {
        match script.byte()? % 16 {
            0..3 => pair.insert(script)?,
            3 => pair.remove(script)?,
            4..8 => pair.receive(script)?,
            8 => pair.begin(script)?,
            9 => pair.end(script)?,
            10..13 => pair.keep_deadlines(script)?,
            _ => {
                let span = Duration::from_micros(script.number(26)?);
                pair.pass(span);
            }
        }
        pair.compare();
    }
}

/// One that is watched; the list is in the order of `heard`.
#[derive(Clone, Copy)]
struct Listed {
    key: Key,
    heard: u64,
    busy: bool,
}

struct Pair {
    monitor: Monitor,
    list: Vec<Listed>,
    heartbeat: u64,
    frequency: u64,
    check_at: Option<u64>,
    time: Awake,
    ended: u64,
    generation: u32,
}

impl Pair {
    fn insert(&mut self, script: &mut Script<'_>) -> Option<()> {
        self.generation += 1;
        let place = u32::from(script.byte()?) % (CONNECTIONS + 1);
        let key = Key::new(place, self.generation);
        let told = self.monitor.insert(self.time.now, key);
        if place == CONNECTIONS {
            assert_eq!(told, Err(WatchError::Place));
            return Some(());
        }
        assert_eq!(told, Ok(()));
        self.list.retain(|listed| listed.key.index() != key.index());
        self.forget_check();
        self.list.push(Listed {
            key,
            heard: self.time.tick(),
            busy: false,
        });
        if self.heartbeat > 0 && self.frequency > 0 && self.check_at.is_none() {
            self.check_at = Some(self.time.tick() + self.frequency);
        }
        Some(())
    }

    fn forget_check(&mut self) {
        if self.list.is_empty() {
            self.check_at = None;
        }
    }

    fn remove(&mut self, script: &mut Script<'_>) -> Option<()> {
        let key = self.choose(script)?;
        self.monitor.remove(key);
        self.list.retain(|listed| listed.key != key);
        self.forget_check();
        Some(())
    }

    fn receive(&mut self, script: &mut Script<'_>) -> Option<()> {
        let key = self.choose(script)?;
        self.monitor.handle_received(self.time.now, key);
        self.hear(key, false);
        Some(())
    }

    fn begin(&mut self, script: &mut Script<'_>) -> Option<()> {
        let key = self.choose(script)?;
        self.monitor.handle_exchange_begun(self.time.now, key);
        let listed = self.list.iter_mut().find(|listed| listed.key == key);
        if let Some(listed) = listed {
            listed.busy = true;
        }
        Some(())
    }

    fn end(&mut self, script: &mut Script<'_>) -> Option<()> {
        let key = self.choose(script)?;
        self.monitor.handle_exchange_ended(self.time.now, key);
        self.hear(key, true);
        Some(())
    }

    fn hear(&mut self, key: Key, busy: bool) {
        let heard = self.time.tick();
        let found = |listed: &Listed| listed.key == key && listed.busy == busy;
        if let Some(place) = self.list.iter().position(found) {
            self.list.remove(place);
            self.list.push(Listed {
                key,
                heard,
                busy: false,
            });
        }
    }

    /// As a driver does it, for a few deadlines.
    fn keep_deadlines(&mut self, script: &mut Script<'_>) -> Option<()> {
        for _ in 0..script.byte()? % 8 {
            let Some(at) = self.monitor.poll_timeout() else {
                break;
            };
            self.pass(at.saturating_since(self.time.now));
        }
        Some(())
    }

    fn pass(&mut self, span: Duration) {
        let jumps = self.time.pass(span, self.monitor.poll_timeout());
        let tick = self.time.tick();
        if jumps && self.check_at.is_some() {
            self.check_at = Some(tick + self.frequency);
        }
        self.monitor.handle_timeout(self.time.now);
        let told: Vec<_> = core::iter::from_fn(|| self.monitor.poll()).collect();
        let mut expected = Vec::new();
        if self.check_at.is_some_and(|at| at <= tick) {
            while self.check_at.is_some_and(|at| at <= tick) {
                self.check_at = self.check_at.map(|at| at + self.frequency);
            }
            let silent = |listed: &mut Listed| !listed.busy && tick - listed.heard > self.heartbeat;
            expected.extend(self.list.extract_if(.., silent));
            self.forget_check();
        }
        let expected: Vec<_> = expected
            .iter()
            .map(|listed| Ended {
                conn: listed.key,
                silent_for: Duration::from_millis(tick - listed.heard),
                rule: Rule::Heartbeat,
            })
            .collect();
        assert_eq!(told, expected);
        self.ended += told.len() as u64;
    }

    /// A connection, also one that is gone.
    fn choose(&self, script: &mut Script<'_>) -> Option<Key> {
        let place = usize::from(script.byte()? % 8);
        let gone = Key::new(place as u32, 0);
        Some(self.list.get(place).map_or(gone, |listed| listed.key))
    }

    fn compare(&self) {
        assert_eq!(self.monitor.len(), self.list.len());
        assert_eq!(self.monitor.is_empty(), self.list.is_empty());
        assert_eq!(self.monitor.stats().ended, self.ended);
        let expected: Option<Instant> = self.check_at.map(|tick| self.time.moment(tick));
        assert_eq!(self.monitor.poll_timeout(), expected);
    }
}
