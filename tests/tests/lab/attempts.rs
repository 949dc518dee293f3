//! Connections that can not be opened, and those that are opened anew.

use tautline_tests::Program;
use tautline_tests::lab::{Host, Lab, PORT};
use tautline_tests::wait_for;

use super::{RELAY, hostname_of, start_granted, wait_for_lines};

/// Long after the last attempt of one registration.
const PERIOD: &str = "registration.period_s = 7\npersistent_connections.per_subnet_max = 1\n";

fn opened(lab: &Lab, host: &Host) -> u64 {
    host.counts().tcp_opened[&(lab.relay.address, PORT)]
}

fn is_gone(agent: &Program) -> bool {
    agent.log().contains("the line is gone")
}

#[test]
fn p2_four_attempts_then_none_before_the_next_registration() {
    let Some(lab) = Lab::build() else { return };
    let _relay = lab.start_relay(&format!("{RELAY}{PERIOD}"));
    let [c1, ..] = &lab.north.clients;
    let [mut agent] = start_granted(&lab, [c1]);
    lab.north.router.refuse(c1);
    let registered = opened(&lab, c1);
    for attempt in 1..=4 {
        let line = agent.wait_for_log(&format!("attempt={attempt} of=4"));
        assert_eq!(
            line.contains("after the next registration"),
            attempt == 4,
            "{line}"
        );
    }
    // The inbox is to bring what the line does not.
    let tried = registered + 4 + 1;
    wait_for("four attempts, and one for the inbox", || {
        (opened(&lab, c1) == tried).then_some(())
    });
    lab.north.router.admit(c1);
    // Far longer than from one attempt to the next.
    agent.wait_for_log("granted=true");
    // The registration, and perhaps the inbox again, but no line.
    let since = opened(&lab, c1) - tried;
    assert!((1..=2).contains(&since), "{since}");
    agent.wait_for_log("the line is open");
}

#[test]
fn who_registers_anew_while_connected_keeps_the_line_until_the_new_one_is_open() {
    let Some(lab) = Lab::build() else { return };
    let _relay = lab.start_relay(&format!("{RELAY}{PERIOD}"));
    let operator = lab.operator();
    let [e1, ..] = &lab.south.clients;
    let mut agents = start_granted(&lab, [e1]);
    wait_for_lines(&mut agents);
    let [mut agent] = agents;
    let before = opened(&lab, e1);
    agent.wait_for_log("granted=true");
    // Under a cap of 1 it may, since both count as one.
    let subnet = "192.168.1.0/24@198.51.100.130";
    assert_eq!(operator.subnets()[subnet][..2], [1, 1]);
    assert_eq!(hostname_of(&operator, e1), "e1");
    wait_for("the new line", || {
        (opened(&lab, e1) == before + 2 && operator.subnets()[subnet] == [1, 1, 0]).then_some(())
    });
    assert_eq!(hostname_of(&operator, e1), "e1");
    assert!(!is_gone(&agent));
    assert!(e1.counts().udp_in.is_empty());
}
