//! A peer that says it has sent what nobody got.

use tautline_tests::lab::Lab;
use tautline_tests::wait_for;

use super::{RELAY, hostname_of, once_at, start_denied, start_granted, wait_for_lines};

/// Nobody is given up for being slow.
const PATIENT: &str = "notifications.served_timeout_ms = 60000\n\
                       persistent_connections.per_subnet_max = 2\n";

#[test]
fn what_a_peer_only_claims_to_have_sent_is_found_and_the_next_comes_by_another() {
    let Some(lab) = Lab::build() else { return };
    let settings = RELAY.replace("notifications.served_timeout_ms = 2000\n", PATIENT);
    let _relay = lab.start_relay(&settings);
    let operator = lab.operator();
    let [c1, c2, c3] = &lab.north.clients;
    let mut agents = start_granted(&lab, [c1, c2]);
    let mut of_c3 = start_denied(&lab, c3, "subnet_cap");
    wait_for_lines(&mut agents);

    c1.mute();
    let (mut told, mut missed) = (0, None);
    while missed.is_none() {
        // The two take turns.
        assert!(told < 8, "c1 is never chosen");
        let notification = operator.notify(c3, "hostname");
        missed = wait_for("someone who sends it", || {
            let claimed = !c1.counts().udp_out.is_empty();
            let came = operator.replies(&notification).contains_key("c3");
            (claimed || came).then(|| claimed.then(|| notification.clone()))
        });
        told += 1;
    }
    let missed = missed.unwrap();
    assert_eq!(c1.counts().udp_out, once_at(c3), "it says that it sent it");
    assert!(operator.replies(&missed).is_empty());

    // The next one goes another way, and shows that there was one before it.
    let seen = lab.watch(|| assert_eq!(hostname_of(&operator, c3), "c3"));
    told += 1;
    assert!(seen["c1"].udp_out.is_empty(), "{seen:?}");
    assert_eq!(seen["c3"].udp_in, once_at(c2));
    let replies = operator.wait_for_replies(&missed, &[c3]);
    assert_eq!(replies["c3"], "c3");
    of_c3.wait_for_log("by=\"inbox\"");
    // All of them, each once; and nobody was taken to be silent.
    assert_eq!(of_c3.log().matches(" notification ").count(), told);
    assert_eq!(operator.get("/v1/status")["notifications"]["rerouted"], 0);
}
