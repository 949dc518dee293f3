//! A peer that is cut off, and nobody is told.

use tautline_tests::lab::Lab;
use tautline_tests::wait_for;

use super::{hostname_of, once_at, start_denied, start_granted, start_relay, wait_for_lines};

#[test]
fn p4_what_a_peer_that_was_cut_silently_does_not_bring_another_one_does() {
    let Some(lab) = Lab::build() else { return };
    let _relay = start_relay(&lab, 2);
    let operator = lab.operator();
    let [c1, c2, c3] = &lab.north.clients;
    let mut agents = start_granted(&lab, [c1, c2]);
    let of_c3 = start_denied(&lab, c3, "subnet_cap");
    wait_for_lines(&mut agents);

    lab.north.router.cut(c1);
    let rerouted = || operator.get("/v1/status")["notifications"]["rerouted"].as_u64();
    let mut told = 0;
    // The two take turns.
    while rerouted() == Some(0) {
        assert!(told < 8, "c1 is never chosen");
        assert_eq!(hostname_of(&operator, c3), "c3");
        told += 1;
    }
    // It rests now, and what is for itself holds nobody up.
    let notification = operator.notify_all("hostname");
    let replies = operator.wait_for_replies(&notification, &[c2, c3]);
    assert!(!replies.contains_key("c1"), "{replies:?}");
    told += 1;

    // Nobody has noticed: TCP tries again by itself.
    lab.north.router.mend(c1);
    operator.wait_for_replies(&notification, &[c1]);
    // What it was to pass on it passes on now; c3 knows it already.
    wait_for("a late datagram", || {
        (!c1.counts().udp_out.is_empty()).then_some(())
    });
    assert_eq!(hostname_of(&operator, c3), "c3");
    told += 1;
    assert_eq!(c1.counts().udp_out, once_at(c3), "it was given no other");
    assert_eq!(of_c3.log().matches(" notification ").count(), told);
    assert!(!agents[0].log().contains("the line is gone"));
}
