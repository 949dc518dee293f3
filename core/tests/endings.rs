//! How endpoints end: each end is told once, whatever comes first.

use tautline_core::relay::{Event, Limits, Relay, Settings};
use tautline_core::wire::proof::MasterKey;
use tautline_core::{CloseReason, Endpoint, Incarnation, Input, Instant, OUTPUT_BUF_MIN, Output};

/// Polls to the end; gives the events.
fn events<E: Endpoint>(endpoint: &mut E) -> Vec<E::Event> {
    let (mut buf, mut events) = ([0; OUTPUT_BUF_MIN], Vec::new());
    loop {
        match endpoint.poll_output(&mut buf) {
            Output::Wait(_) => return events,
            Output::Event(event) => events.push(event),
            _ => {}
        }
    }
}

#[test]
fn a_drained_relay_says_so_once_when_the_last_connection_ends_before_the_walk() {
    let settings = Settings::new(MasterKey([7; 32]), Incarnation(1));
    let mut relay = Relay::new(settings, Limits::default(), [1; 32]);
    let (now, why) = (Instant::ORIGIN, CloseReason::Reset);
    let address = ([127, 0, 0, 1], 52_311).into();
    let conn = relay.accept(now, address, address).expect("there is room");
    events(&mut relay);
    relay.drain(now);
    relay.handle_input(now, Input::Closed { conn, why });
    assert_eq!(events(&mut relay), [Event::Drained]);
}
