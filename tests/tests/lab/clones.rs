//! Two machines with one identity.

use tautline_tests::lab::Lab;

use super::{hostname_of, is_connected, start, start_granted, start_relay, wait_for_lines};

#[test]
fn two_machines_with_one_identity_are_noticed_reported_and_separated() {
    let Some(lab) = Lab::build() else { return };
    let mut relay = start_relay(&lab, 2);
    let operator = lab.operator();
    let ([c1, ..], [e1, ..]) = (&lab.north.clients, &lab.south.clients);
    let mut agents = start_granted(&lab, [c1]);
    wait_for_lines(&mut agents);
    let [mut of_c1] = agents;
    let shared = operator.clients()["c1"]["client"].clone();

    // The disk of the one becomes that of the other, at another site.
    lab.copy_identity(c1, e1);
    let mut of_e1 = start(&lab, e1);
    // The copy may as well be a new start of the first, until that is heard of
    // again: its line is taken from it.
    of_c1.wait_for_log("a newer line of this client takes the place of this one");
    let noticed = relay.wait_for_log("two machines had one identity; this one has its own now");
    let told = of_c1.wait_for_log("this one has a new one from now on");
    assert_eq!(operator.metric("tautline_clients_separated_total"), 1);
    for agent in [&mut of_c1, &mut of_e1] {
        agent.wait_for_log("the line is open");
    }

    let clients = operator.clients();
    assert!(clients.keys().eq(["c1", "e1"]), "{clients:?}");
    assert!(clients.values().all(is_connected), "{clients:?}");
    assert_eq!(
        clients["e1"]["client"], shared,
        "the one that was first back"
    );
    let own = clients["c1"]["client"].as_str().unwrap();
    assert_ne!(own, shared);
    assert!(
        noticed.contains(own) && told.contains(own),
        "{noticed}{told}"
    );
    assert!(!of_e1.log().contains("this one has a new one"));
    for host in [c1, e1] {
        assert_eq!(hostname_of(&operator, host), host.name);
    }
    // Nothing of it is lost, nor heard twice, when both start again.
    drop((of_c1, of_e1));
    let mut agents = start_granted(&lab, [c1, e1]);
    wait_for_lines(&mut agents);
    let again = operator.clients();
    for host in [c1, e1] {
        assert_eq!(again[host.name]["client"], clients[host.name]["client"]);
    }
    assert_eq!(operator.metric("tautline_clients_separated_total"), 1);
}
