//! What either end is told of the other's figures.

use super::groups::{PLACES, grouped, with_site};
use super::*;
use crate::heartbeat::Advice;
use crate::registration::body::HeartbeatFigures;

/// Registers a client that says of itself what `more` says; returns what the
/// answer states, and what the relay's application was advised.
fn registers(
    rig: &mut Rig<Relay>,
    known: Option<&mut Peer>,
    instance: u64,
    figures: &str,
) -> (Peer, Option<HeartbeatFigures>, Vec<Advice>) {
    let more = alloc::format!(r#","instance":"{instance:016x}"{figures}"#);
    rig.told();
    let bytes = match &known {
        None => head("POST", "/v1/register", "", &body(None, 1, &more), ""),
        Some(peer) => {
            let number = peer.registration + 1;
            peer.registration_of(number, &body(Some(peer.id), number, &more))
        }
    };
    let answer = ask(rig, &bytes);
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer: Answer = serde_json::from_slice(&answer.body).expect("an answer");
    let registered = match known {
        None => peer(&answer, ClientSecret(answer.secret.expect("a secret").0), 1),
        Some(before) => peer(&answer, before.secret.clone(), before.registration + 1),
    };
    let told = rig.told().into_iter().filter_map(|event| match event {
        Event::HeartbeatAdvice { client, advice } => {
            assert_eq!(client, registered.id);
            Some(advice)
        }
        _ => None,
    });
    let told = told.collect();
    (registered, answer.heartbeat, told)
}

fn states(period_s: u32, heartbeat_s: u32, frequency_s: u32) -> String {
    alloc::format!(
        r#","heartbeat":{{"period_s":{period_s},"heartbeat_s":{heartbeat_s},"frequency_s":{frequency_s}}}"#
    )
}

fn watching(period: u64, heartbeat: u64, frequency: u64) -> HeartbeatSettings {
    HeartbeatSettings {
        heartbeat: seconds(heartbeat),
        frequency: seconds(frequency),
        ..asking(seconds(period))
    }
}

#[test]
fn the_answer_states_the_figures_of_the_clients_place() {
    let figures = |period_s, heartbeat_s, frequency_s| {
        Some(HeartbeatFigures {
            period_s,
            heartbeat_s,
            frequency_s,
        })
    };
    let mut rig = relay_watching(watching(600, 1_201, 60));
    let (_, stated, told) = registers(&mut rig, None, 1, "");
    assert_eq!((stated, told), (figures(600, 1_201, 60), [].into()));
    let mut rig = relay_watching(asking(Duration::from_millis(1_500)));
    let (_, stated, _) = registers(&mut rig, None, 1, "");
    assert_eq!(stated, figures(2, 0, 60), "whole seconds, rounded up");
    let mut rig = relay_watching(asking(Duration::MAX));
    let (_, stated, _) = registers(&mut rig, None, 1, "");
    assert_eq!(stated, figures(86_400, 0, 60), "the nearest that may be");

    let mut rig = with_site(grouped());
    let members = PLACES.map(|(nat, inner)| Member::connected(&mut rig, nat, inner).0);
    let places = PLACES.into_iter().zip([40, 30, 20, 50]);
    for (mut member, ((nat, inner), period)) in members.into_iter().zip(places) {
        let answer = member.moves(&mut rig, nat, inner, true);
        assert_eq!(answer.heartbeat, figures(period, 0, 60), "{inner}");
    }
}

#[test]
fn figures_that_do_not_fit_are_told_once_for_each_start() {
    let (heartbeat, period) = (seconds(90), seconds(60));
    let short = Advice::HeartbeatTooShort { heartbeat, period };
    let mut rig = relay_watching(asking(seconds(60)));
    let stated = states(0, 90, 10);
    let (mut client, _, told) = registers(&mut rig, None, 1, &stated);
    assert_eq!(told, [short]);
    for (instance, expected) in [(1, &[][..]), (1, &[]), (2, &[short]), (2, &[])] {
        let (again, _, told) = registers(&mut rig, Some(&mut client), instance, &stated);
        client = again;
        assert_eq!(told, expected, "{instance}");
    }
    // A relay that was started anew tells it again.
    let mut rig = relay_watching(asking(seconds(60)));
    let (_, _, told) = registers(&mut rig, Some(&mut client), 2, &stated);
    assert_eq!(told, [short]);
}

#[test]
fn the_figures_of_both_ends_are_compared() {
    let no_prober = |heartbeat| Advice::NoProber {
        heartbeat: seconds(heartbeat),
    };
    let short = |heartbeat, period| Advice::HeartbeatTooShort {
        heartbeat: seconds(heartbeat),
        period: seconds(period),
    };
    for (here, there, expected) in [
        ((60, 0, 60), (0, 121, 12), &[][..]),
        ((60, 0, 60), (0, 119, 12), &[short(119, 60)]),
        ((0, 100, 10), (60, 0, 0), &[short(100, 60)]),
        ((0, 121, 10), (60, 0, 0), &[]),
        // The shorter of both periods counts, for either monitor.
        ((600, 100, 10), (50, 100, 10), &[]),
        ((50, 100, 10), (600, 100, 10), &[]),
        ((50, 90, 10), (600, 80, 10), &[short(90, 50), short(80, 50)]),
        ((0, 90, 10), (0, 80, 10), &[no_prober(90), no_prober(80)]),
        // How often an end looks is told to that end alone.
        ((10, 90, 90), (10, 80, 80), &[]),
    ] {
        let mut rig = relay_watching(watching(here.0, here.1, here.2));
        let stated = states(there.0, there.1, there.2);
        let (_, _, told) = registers(&mut rig, None, 1, &stated);
        assert_eq!(told, expected, "{here:?} {there:?}");
        // Who says nothing follows.
        let (_, _, told) = registers(&mut rig, None, 1, "");
        assert_eq!(told, [], "{here:?}");
    }
}

#[test]
fn a_clients_own_period_is_what_its_figures_are_compared_with() {
    let mut heartbeat = asking(seconds(60));
    let mut rig = relay_watching(heartbeat.clone());
    let (client, _, told) = registers(&mut rig, None, 1, &states(0, 121, 10));
    assert_eq!(told, []);
    heartbeat.periods = [(Group::Client(client.id), seconds(100))].into();
    let mut rig = relay_watching(heartbeat);
    let (same, stated, told) = registers(&mut rig, None, 1, &states(0, 121, 10));
    assert_eq!(same.id, client.id, "of the same seed");
    let (heartbeat, period) = (seconds(121), seconds(100));
    assert_eq!(told, [Advice::HeartbeatTooShort { heartbeat, period }]);
    assert_eq!(stated.unwrap().period_s, 100);
}
