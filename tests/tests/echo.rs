//! The world proves itself on an echo server and its clients: what was echoed
//! is durable, and after the faults everyone is served.

use core::cell::RefCell;
use core::time::Duration;
use std::collections::BTreeSet;
use std::rc::Rc;

use tautline_tests::world::toys::{EchoClient, EchoServer, Message};
use tautline_tests::world::{App, Boot, Climate, Fault, NodeId, Scenario, World};

/// A client whose echoes are remembered over its crashes.
struct Witness {
    client: EchoClient,
    echoed: Rc<RefCell<BTreeSet<Message>>>,
}

impl App for Witness {
    type Endpoint = <EchoClient as App>::Endpoint;

    fn endpoint(&mut self) -> &mut Self::Endpoint {
        self.client.endpoint()
    }

    fn on_event(
        &mut self,
        now: tautline_core::Instant,
        event: tautline_tests::world::toys::ClientEvent,
    ) {
        self.client.on_event(now, event);
        if let Some(&message) = self.client.echoed().last() {
            self.echoed.borrow_mut().insert(message);
        }
    }
}

struct Cast {
    server: NodeId,
    clients: Vec<NodeId>,
    echoed: Rc<RefCell<BTreeSet<Message>>>,
}

fn cast(world: &mut World, clients: usize) -> Cast {
    let echoed = Rc::new(RefCell::new(BTreeSet::new()));
    let server = world
        .node("server", |boot| EchoServer::boot(&boot))
        .listening(7)
        .id();
    let clients = (0..clients)
        .map(|number| {
            let echoed = Rc::clone(&echoed);
            let boot = move |boot: Boot| Witness {
                client: EchoClient::boot(&boot, "server", 7),
                echoed: Rc::clone(&echoed),
            };
            world.node(&format!("client{number}"), boot).id()
        })
        .collect();
    Cast {
        server,
        clients,
        echoed,
    }
}

fn echoes(world: &World, client: NodeId) -> usize {
    world
        .app::<Witness>(client)
        .map_or(0, |witness| witness.client.echoes())
}

/// After the faults every client gets further echoes, and all that was ever
/// echoed is in the journal.
fn play(world: &mut World) {
    let cast = cast(world, 3);
    world.run_for(Duration::from_secs(240));
    world.calm();
    world.run_for(Duration::from_secs(1));
    let before: Vec<usize> = cast
        .clients
        .iter()
        .map(|&client| echoes(world, client))
        .collect();
    let served = world.run_until(Duration::from_secs(300), |world| {
        let clients = cast.clients.iter().zip(&before);
        clients
            .clone()
            .all(|(&client, &before)| echoes(world, client) >= before + 2)
    });
    assert!(served, "a client is not served after the faults");
    let server = world.app::<EchoServer>(cast.server).expect("it runs");
    let durable: BTreeSet<Message> = server.durable().iter().copied().collect();
    let lost: Vec<Message> = cast.echoed.borrow().difference(&durable).copied().collect();
    assert!(lost.is_empty(), "echoed and lost: {lost:?}");
}

#[test]
fn what_was_to_come_later_does_not_once_it_is_calm() {
    let mut world = World::new(1, &Climate::calm());
    let came = Rc::new(RefCell::new(Vec::new()));
    for second in [1, 3] {
        let came = Rc::clone(&came);
        let script = move |_: &mut World| came.borrow_mut().push(second);
        world.after(Duration::from_secs(second), script);
    }
    world.run_for(Duration::from_secs(2));
    world.calm();
    world.run_for(Duration::from_secs(2));
    assert_eq!(*came.borrow(), [1]);
}

#[test]
fn what_was_echoed_is_durable_and_everyone_is_served_after_the_faults() {
    let name = "what_was_echoed_is_durable_and_everyone_is_served_after_the_faults";
    let Some(counts) = Scenario::new("echo", name).seeds(3_000).run(play) else {
        return;
    };
    // The toys neither read ranges nor send files.
    counts.assert_struck(Fault::ALL);
}

#[test]
fn a_seed_is_one_trace_and_another_seed_another() {
    let trace = |seed| {
        let mut world = World::new(seed, &Climate::stormy());
        cast(&mut world, 2);
        world.run_for(Duration::from_secs(120));
        world.trace_hash()
    };
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1), trace(2));
}

#[test]
fn without_faults_nobody_waits() {
    let mut world = World::new(1, &Climate::calm());
    let cast = cast(&mut world, 3);
    world.run_for(Duration::from_secs(60));
    for client in cast.clients {
        let client = &world.app::<Witness>(client).expect("it runs").client;
        assert!(client.echoes() > 80, "{}", client.echoes());
        assert!(client.pongs() >= 18, "{}", client.pongs());
    }
    assert_eq!(world.faults(), &tautline_tests::world::Counts::default());
}
