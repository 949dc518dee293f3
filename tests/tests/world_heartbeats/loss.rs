//! A network that loses packets, and one that is slow.

use core::cell::Cell;

use tautline_core::heartbeat::ProberSettings;

use super::*;

const CLIENTS: usize = 40;
const LOSS_PPM: u32 = 300_000;
/// A little less than 200 ms, at which an answer after six losses would take 10 s
/// to the millisecond, as long as one of the timeouts.
const DELAY: Duration = Duration::from_millis(199);

fn asking(response_timeout: Duration) -> Figures {
    Figures {
        relay: relay::HeartbeatSettings {
            prober: ProberSettings {
                period: PERIOD,
                response_timeout,
                ..ProberSettings::default()
            },
            ..relay::HeartbeatSettings::default()
        },
        ..Figures::default()
    }
}

/// An hour with loss: probes, and live clients that the relay's prober ended.
fn hour(world: &mut World, response_timeout: Duration) -> (u64, u64) {
    let fleet = Fleet::connected(world, asking(response_timeout), CLIENTS);
    let before = fleet.of_relay(world, |relay| relay.stats().heartbeats.prober);
    world.set_network(DELAY, LOSS_PPM);
    world.run_for(HOUR);
    assert_monitors_end_no_live_peer(&fleet);
    let after = fleet.of_relay(world, |relay| relay.stats().heartbeats.prober);
    (after.sent - before.sent, after.ended - before.ended)
}

/// A client's monitor ends a connection only when the relay has done so before;
/// the reset, which is one packet, was lost.
fn assert_monitors_end_no_live_peer(fleet: &Fleet) {
    let journal = fleet.journal.borrow();
    for (place, entry) in journal.iter().enumerate() {
        if !matches!(entry.told, Told::Silent(_, Rule::Heartbeat)) {
            continue;
        }
        let at_relay = journal[..place]
            .iter()
            .rfind(|it| it.node == fleet.relay && it.client == entry.client);
        let is_gone = at_relay.is_some_and(|it| matches!(it.told, Told::Gone(_)));
        assert!(is_gone, "h1: {entry:?} was alive: {at_relay:?}");
    }
}

#[test]
fn h1_under_loss_no_monitor_ends_a_live_peer_and_the_prober_ends_as_few_as_is_stated() {
    let name =
        "loss::h1_under_loss_no_monitor_ends_a_live_peer_and_the_prober_ends_as_few_as_is_stated";
    // Of a million probes, as `ProberSettings::response_timeout` states.
    for (timeout, stated_ppm) in [(2, 170_000), (5, 26_000), (10, 6_000), (20, 1_700)] {
        let (sent, ended) = (Cell::new(0), Cell::new(0));
        calmly(name, 4, |world| {
            let (probes, ends) = hour(world, seconds(timeout));
            sent.set(sent.get() + probes);
            ended.set(ended.get() + ends);
        });
        let (sent, ended) = (sent.get(), ended.get());
        println!("{timeout} s: {ended} of {sent} probes end a live peer");
        let expected = sent * stated_ppm / 1_000_000;
        // What chance may do to so few, of which each was drawn twice.
        let chance = 4 * expected.isqrt();
        assert!(
            (1..=expected + chance).contains(&ended),
            "h1: {timeout} s: {ended} of {sent}, {expected} are stated"
        );
    }
}

#[test]
fn without_loss_nobody_is_ended() {
    calmly("loss::without_loss_nobody_is_ended", 4, |world| {
        let fleet = Fleet::connected(world, Figures::default(), CLIENTS);
        let since = world.now();
        world.set_network(DELAY, 0);
        world.run_for(HOUR);
        fleet.assert_kept(since);
    });
}

/// An answer that takes so long; whether the connection is kept.
fn is_kept_with(world: &mut World, answer: Duration) -> bool {
    let fleet = Fleet::connected(world, Figures::default(), 1);
    let since = world.now();
    world.set_network(answer / 2, 0);
    world.run_for(10 * PERIOD);
    let told = fleet.told(fleet.relay, 0, since);
    if let Some(first) = told.first() {
        assert!(
            matches!(first.told, Told::Silent(_, Rule::ResponseTimeout)),
            "{told:?}"
        );
    }
    let stats = fleet.of_relay(world, |relay| relay.stats().heartbeats.prober);
    assert!(stats.sent > 2, "{stats:?}");
    told.is_empty()
}

#[test]
fn h1_an_answer_just_within_the_response_timeout_keeps_and_one_just_beyond_ends() {
    let name = "loss::h1_an_answer_just_within_the_response_timeout_keeps_and_one_just_beyond_ends";
    // The machines count milliseconds, and the world's timers are late by less.
    let tick = Duration::from_millis(2);
    calmly(name, 20, |world| {
        assert!(is_kept_with(world, RESPONSE_TIMEOUT - tick));
    });
    calmly(name, 20, |world| {
        assert!(!is_kept_with(world, RESPONSE_TIMEOUT + tick));
    });
}
