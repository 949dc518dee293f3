//! A firewall that forgets connections.

use std::time::Duration;

use tautline_tests::lab::{Host, Lab};
use tautline_tests::wait_for;

use super::{AGENT, ASKS, start_relay};

#[test]
fn what_a_firewall_forgot_is_found_by_asking() {
    let Some(lab) = Lab::build() else { return };
    let _relay = start_relay(&lab, 1);
    let operator = lab.operator();
    let [c1, c2, _] = &lab.north.clients;
    // Not so soon that it forgets one that asks just now.
    let router = &lab.north.router;
    router.forget_idle(Duration::from_secs(2));
    let start = |host| lab.start_agent(host, &format!("{AGENT}{ASKS}"));
    let mut of_c1 = start(c1);
    of_c1.wait_for_log("granted=true");
    let mut of_c2 = start(c2);
    of_c2.wait_for_log("granted=false");
    of_c1.wait_for_log("the line is open");
    wait_for("a router that has forgotten the line", || {
        (router.connections() == 0).then_some(())
    });

    let ask = |host: &Host| {
        let notification = operator.notify(host, "hostname");
        let replies = operator.wait_for_replies(&notification, &[host]);
        assert_eq!(replies[host.name], host.name);
    };
    ask(c1);
    of_c1.wait_for_log("by=\"inbox\"");
    // Its peer is deaf.
    ask(c2);
    of_c2.wait_for_log("by=\"inbox\"");
    let status = operator.get("/v1/status");
    assert!(
        status["notifications"]["sent"]["inbox"].as_u64() >= Some(2),
        "{status}"
    );
    assert!(
        !of_c1.log().contains("the line is gone"),
        "neither end was told"
    );
    assert!(c2.counts().udp_in.is_empty());
}
