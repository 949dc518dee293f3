//! The simulated world as a stage, without faults and in virtual time.

use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;

use tautline_core::client::{self, Client};
use tautline_core::relay::{self, Relay};
use tautline_core::{Endpoint, Instant};
use tautline_tests::world::{App, Climate, NodeId, World};

use crate::cast::{self, CLIENTS, Note, hear_client, hear_relay};
use crate::script::Stage;

const PORT: u16 = 52_311;

type Notes = Rc<RefCell<Vec<Note>>>;

/// An endpoint that notes what it hears.
struct Noting<E: Endpoint> {
    endpoint: E,
    notes: Notes,
    hear: Hear<E>,
}

type Hear<E> = Box<dyn Fn(&mut E, Instant, <E as Endpoint>::Event) -> Note>;

impl<E: Endpoint<Event: core::fmt::Debug> + 'static> App for Noting<E> {
    type Endpoint = E;

    fn endpoint(&mut self) -> &mut E {
        &mut self.endpoint
    }

    fn on_event(&mut self, now: Instant, event: E::Event) {
        let note = (self.hear)(&mut self.endpoint, now, event);
        self.notes.borrow_mut().push(note);
    }
}

pub(crate) struct Calm {
    seed: u64,
    world: World,
    relay: NodeId,
    clients: [Option<NodeId>; CLIENTS],
    notes: Notes,
}

impl Calm {
    pub(crate) fn new(seed: u64) -> Self {
        let notes = Notes::default();
        let mut world = World::new(seed, &Climate::calm());
        let noted = Rc::clone(&notes);
        let relay = world.node("relay", move |_| Noting {
            endpoint: cast::relay(seed),
            notes: Rc::clone(&noted),
            hear: Box::new(|relay: &mut Relay, _, event: relay::Event| hear_relay(relay, event)),
        });
        let relay = relay.listening(PORT).id();
        world.run_for(Duration::from_millis(1));
        Self {
            seed,
            world,
            relay,
            clients: [None; CLIENTS],
            notes,
        }
    }
}

impl Stage for Calm {
    fn relay<R>(&mut self, command: impl FnOnce(&mut Relay, Instant) -> R) -> R {
        let command = |app: &mut Noting<Relay>, now| command(&mut app.endpoint, now);
        self.world.command(self.relay, command).expect("it runs")
    }

    fn start(&mut self, number: usize) {
        if let Some(node) = self.clients[number] {
            // It was stopped; its process ends and starts anew.
            self.world.crash(node, false, Duration::ZERO);
            return;
        }
        let (seed, notes) = (self.seed, Rc::clone(&self.notes));
        let node = self.world.node(&cast::name(number), move |boot| Noting {
            endpoint: cast::client(seed, number, boot.life, "relay", PORT),
            notes: Rc::clone(&notes),
            hear: Box::new(move |client: &mut Client, now, event: client::Event| {
                hear_client(number, client, now, event)
            }),
        });
        self.clients[number] = Some(node.id());
    }

    fn stop(&mut self, number: usize) {
        let node = self.clients[number].expect("it was started");
        let stop = |app: &mut Noting<Client>, now| app.endpoint.stop(now);
        self.world.command(node, stop).expect("it runs");
    }

    fn drain(&mut self) {
        self.relay(|relay, now| relay.drain(now));
    }

    fn go_on(&mut self, notes: &mut Vec<Note>) {
        self.world.run_for(Duration::from_millis(1));
        notes.append(&mut self.notes.borrow_mut());
    }
}
