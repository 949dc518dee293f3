//! Packets that vanish in one direction, and in both.

use tautline_tests::lab::{Lab, Way};

use super::{
    PATIENT, SHORT, assert_all_by_line, ends, start_all, start_relay, wait_for_ends,
    wait_for_silence,
};

#[test]
fn h1_of_packets_that_vanish_one_way_or_both_each_end_hears_and_nothing_is_lost() {
    let Some(lab) = Lab::build() else { return };
    let relay = start_relay(&lab, SHORT);
    let operator = lab.operator();
    let [deaf, mute, gone] = &lab.north.clients;
    let [e1, e2] = &lab.south.clients;
    let (cut, others) = ([deaf, mute, gone], [e1, e2, &lab.d1]);
    let [mut of_deaf, mut of_mute, mut of_gone] = start_all(&lab, cut, PATIENT);
    let of_others = start_all(&lab, others, "");

    let router = &lab.north.router;
    router.cut_way(deaf, Way::Inward);
    router.cut_way(mute, Way::Outward);
    router.cut(gone);
    // To the relay all three are silent.
    wait_for_ends(&relay, &operator, &cut);
    let missed = operator.notify_all("hostname");
    operator.wait_for_replies(&missed, &others);
    // The one that hears hears of it. The others find out by themselves.
    of_mute.wait_for_log("the line is gone");
    wait_for_silence(&mut of_deaf, "heartbeat");
    wait_for_silence(&mut of_gone, "heartbeat");

    for host in cut {
        router.mend(host);
    }
    for agent in [&mut of_deaf, &mut of_mute, &mut of_gone] {
        agent.wait_for_log("the line is open");
    }
    let hosts: Vec<_> = lab.hosts().collect();
    let replies = operator.wait_for_replies(&missed, &hosts);
    assert_eq!(replies.len(), 6, "{replies:?}");
    let of_cut = [&of_deaf, &of_mute, &of_gone];
    let agents: Vec<_> = of_cut.into_iter().chain(&of_others).collect();
    assert_all_by_line(&operator, &hosts, &agents);
    wait_for_ends(&relay, &operator, &cut);
    assert_eq!(of_cut.map(|agent| ends(agent).len()), [1, 0, 1]);
    for agent in &of_others {
        assert!(!agent.log().contains("the line is gone"));
    }
}
