//! A script out of a seed, and the stage that it is played on.
//!
//! What the applications hear within a scene comes in any order between the
//! endpoints; a scene ends when all of it has come, so that what each endpoint
//! hears does not depend on how fast its driver is.

use core::fmt::{self, Write};
use core::time::Duration;
use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use tautline_core::notify::NotifyOptions;
use tautline_core::relay::{Relay, To};
use tautline_core::{ClientId, Instant, NotificationId};
use tautline_tests::Dice;

use crate::cast::{CLIENTS, Note, Place, answer, name, payload_of, progress};

/// Moments after which something is waited for in vain.
const MOMENTS_MAX: u32 = 100_000;

/// Where a script is played: a relay and its clients over some driver.
pub(crate) trait Stage {
    /// Gives the relay a command.
    fn relay<R>(&mut self, command: impl FnOnce(&mut Relay, Instant) -> R) -> R;

    /// Starts a client; one that was there before finds its identity.
    fn start(&mut self, client: usize);

    /// Stops a client.
    fn stop(&mut self, client: usize);

    /// Drains the relay.
    fn drain(&mut self);

    /// Lets things go on for a moment; what was heard is added to `notes`.
    fn go_on(&mut self, notes: &mut Vec<Note>);
}

/// All that was heard, by place and notification; these by their ordinals.
#[derive(Default, PartialEq, Eq)]
pub(crate) struct Trace(BTreeMap<(Place, Option<usize>), Vec<String>>);

impl Trace {
    fn add(&mut self, place: Place, notification: Option<usize>, what: String) {
        self.0.entry((place, notification)).or_default().push(what);
    }

    fn count(&self, owed: &Owed) -> usize {
        let lines = self.0.get(&(owed.place, owed.notification));
        let is_it = |line: &&String| line.starts_with(owed.what);
        lines.map_or(0, |lines| lines.iter().filter(is_it).count())
    }

    /// The hash of all of it.
    pub(crate) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.to_string()).into()
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((place, notification), lines) in &self.0 {
            for line in lines {
                write!(f, "{place:?}")?;
                if let Some(ordinal) = notification {
                    write!(f, ", notification {ordinal}")?;
                }
                writeln!(f, ": {line}")?;
            }
        }
        Ok(())
    }
}

/// Something that has to be heard before the scene is over.
struct Owed {
    place: Place,
    notification: Option<usize>,
    what: &'static str,
    /// How often it was heard then, from the beginning.
    times: usize,
}

/// A client, as the script sees it.
#[derive(Default)]
struct Member {
    id: Option<ClientId>,
    lives: usize,
    is_there: bool,
    /// What it was not told yet: ordinals and payloads.
    untold: Vec<(usize, Vec<u8>)>,
}

/// Plays the script of a seed.
pub(crate) fn play(seed: u64, stage: impl Stage) -> Trace {
    let mut dice = Dice::new(seed);
    let mut script = Script {
        seed,
        has_fleeting: dice.one_in(4),
        dice,
        stage,
        trace: Trace::default(),
        members: Default::default(),
        said: Vec::new(),
        owed: Vec::new(),
    };
    script.start_some();
    script.end_scene();
    for _ in 0..script.dice.between(5..10) {
        script.scene();
        script.end_scene();
    }
    script.finale();
    script.trace
}

struct Script<S> {
    seed: u64,
    dice: Dice,
    has_fleeting: bool,
    stage: S,
    trace: Trace,
    members: [Member; CLIENTS],
    said: Vec<NotificationId>,
    owed: Vec<Owed>,
}

impl<S: Stage> Script<S> {
    fn scene(&mut self) {
        match self.dice.below(7) {
            // Notifications meet clients that come.
            0 | 1 => {
                self.notify_some(false);
                self.start_some();
                self.notify_some(false);
            }
            // A client goes while others are notified.
            2 => {
                let there = self.those(|member| member.is_there);
                if !there.is_empty() {
                    let leaver = *self.dice.pick(&there);
                    self.stop(leaver);
                    self.end_scene();
                    self.notify_some(true);
                }
            }
            3 | 4 => self.notify_some(true),
            5 => self.fleeting(),
            _ => self.refused(),
        }
    }

    /// The relay is drained under those who are there; then they end.
    fn finale(&mut self) {
        for (ordinal, id) in self.said.iter().enumerate() {
            let status = self.stage.relay(|relay, _| relay.notification(*id));
            let what = status.as_ref().map_or_else(|| "over".to_owned(), progress);
            self.trace.add(Place::Relay, Some(ordinal), what);
        }
        self.stage.drain();
        self.owe(Place::Relay, None, "drained", 1);
        let there = self.those(|member| member.is_there);
        for &client in &there {
            let lives = self.members[client].lives;
            self.owe(Place::Client(client), None, "disconnected", lives);
            self.owe(Place::RelayOf(client), None, "disconnected", lives);
        }
        self.end_scene();
        for client in there {
            self.stop(client);
        }
        self.end_scene();
    }

    fn start_some(&mut self) {
        for client in self.those(|member| !member.is_there) {
            if self.dice.one_in(2) {
                self.start(client);
            }
        }
    }

    fn start(&mut self, client: usize) {
        self.stage.start(client);
        let member = &mut self.members[client];
        member.is_there = true;
        member.lives += 1;
        let (lives, untold) = (member.lives, core::mem::take(&mut member.untold));
        self.owe(Place::Client(client), None, "connected", lives);
        self.owe(Place::RelayOf(client), None, "connected", lives);
        for (ordinal, payload) in untold {
            self.owe_telling(client, ordinal, &payload);
        }
    }

    fn stop(&mut self, client: usize) {
        self.stage.stop(client);
        let member = &mut self.members[client];
        member.is_there = false;
        let lives = member.lives;
        // A relay that was drained has heard of it before.
        self.owe(Place::Client(client), None, "stopped", lives);
        self.owe(Place::RelayOf(client), None, "disconnected", lives);
    }

    /// Up to four notifications, to all among them if nobody is just coming.
    fn notify_some(&mut self, to_all: bool) {
        let known = self.those(|member| member.id.is_some());
        for _ in 0..self.dice.below(5) {
            let all = to_all && self.dice.one_in(3);
            if known.is_empty() {
                continue;
            }
            let one = *self.dice.pick(&known);
            let targets = if all { known.clone() } else { vec![one] };
            let options = NotifyOptions {
                lifetime: self
                    .dice
                    .span(Duration::from_secs(600)..Duration::from_secs(86_400)),
                reply_window: self.dice.span(Duration::ZERO..Duration::from_millis(20)),
            };
            let to = if all { To::All } else { self.to(one) };
            let payload = payload_of(&mut self.dice);
            let Some(ordinal) = self.notify(to, &payload, options) else {
                continue;
            };
            for client in targets {
                if self.members[client].is_there {
                    self.owe_telling(client, ordinal, &payload);
                } else {
                    let untold = &mut self.members[client].untold;
                    untold.push((ordinal, payload.clone()));
                }
            }
        }
    }

    /// A notification that ends before its client comes. It lives a second at
    /// least, so one in a script is enough, and not in every one.
    fn fleeting(&mut self) {
        let away = self.those(|member| member.id.is_some() && !member.is_there);
        if away.is_empty() || !core::mem::take(&mut self.has_fleeting) {
            return;
        }
        let client = *self.dice.pick(&away);
        let to = self.to(client);
        let options = NotifyOptions {
            lifetime: Duration::from_secs(1),
            reply_window: Duration::ZERO,
        };
        let payload = payload_of(&mut self.dice);
        if let Some(ordinal) = self.notify(to, &payload, options) {
            self.owe(Place::Relay, Some(ordinal), "expired", 1);
        }
    }

    /// Notifications that the relay does not take.
    fn refused(&mut self) {
        let stranger = To::Client(ClientId([0; 16]));
        let options = NotifyOptions::default();
        let endless = NotifyOptions {
            lifetime: Duration::MAX,
            ..options
        };
        self.notify(stranger, b"stranger", options);
        self.notify(To::All, b"endless", endless);
        self.notify(To::All, &[0; 65_537], options);
    }

    fn notify(&mut self, to: To, payload: &[u8], options: NotifyOptions) -> Option<usize> {
        let said = self
            .stage
            .relay(|relay, now| relay.notify(now, to, payload, options));
        match said {
            Ok(id) => {
                self.said.push(id);
                Some(self.said.len() - 1)
            }
            Err(error) => {
                let what = format!("refused: {error}");
                self.trace.add(Place::Relay, None, what);
                None
            }
        }
    }

    fn to(&self, client: usize) -> To {
        To::Client(self.members[client].id.expect("it is known"))
    }

    fn those(&self, which: impl Fn(&Member) -> bool) -> Vec<usize> {
        let members = self.members.iter().enumerate();
        let those = members.filter(|(_, member)| which(member));
        those.map(|(client, _)| client).collect()
    }

    fn owe(&mut self, place: Place, notification: Option<usize>, what: &'static str, times: usize) {
        self.owed.push(Owed {
            place,
            notification,
            what,
            times,
        });
    }

    fn owe_telling(&mut self, client: usize, ordinal: usize, payload: &[u8]) {
        self.owe(Place::Client(client), Some(ordinal), "told", 1);
        if answer(client, payload).is_some() {
            self.owe(Place::RelayOf(client), Some(ordinal), "replied", 1);
        }
    }

    /// Goes on until all that is owed was heard.
    fn end_scene(&mut self) {
        let mut notes = Vec::new();
        for _ in 0..MOMENTS_MAX {
            let trace = &self.trace;
            self.owed.retain(|owed| trace.count(owed) < owed.times);
            if self.owed.is_empty() {
                self.learn_ids();
                return;
            }
            self.stage.go_on(&mut notes);
            for note in notes.drain(..) {
                self.note(note);
            }
        }
        let mut missing = String::new();
        for owed in &self.owed {
            let (place, ordinal, what) = (owed.place, owed.notification, owed.what);
            let _ = writeln!(
                missing,
                "{place:?}, {ordinal:?}: {what}, {} times",
                owed.times
            );
        }
        let (seed, trace) = (self.seed, &self.trace);
        panic!("seed {seed} waits in vain for\n{missing}it heard\n{trace}");
    }

    fn note(&mut self, note: Note) {
        let ordinal = note.notification.map(|id| {
            let ordinal = self.said.iter().position(|said| *said == id);
            ordinal.expect("a notification of this script")
        });
        // A client's own order holds over all that it hears.
        if let (Place::Client(_), Some(ordinal)) = (note.place, ordinal) {
            let what = format!("notification {ordinal}");
            self.trace.add(note.place, None, what);
        }
        self.trace.add(note.place, ordinal, note.what);
    }

    fn learn_ids(&mut self) {
        let ids = self.stage.relay(|relay, _| {
            let mut ids = BTreeMap::new();
            let mut place = 0;
            while let Some((at, record)) = relay.client_from(place) {
                place = at + 1;
                ids.insert(record.hostname().to_string(), record.id);
            }
            ids
        });
        for (number, member) in self.members.iter_mut().enumerate() {
            member.id = ids.get(&name(number)).copied();
        }
    }
}
