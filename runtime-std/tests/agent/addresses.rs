//! The port and the addresses that the agent states.

use std::net::{Ipv4Addr, UdpSocket};

use crate::process::{Agent, agent, log};
use crate::relay::Relay;

#[test]
fn a_port_that_is_bound_and_the_addresses_are_stated() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start();
    let mut command = agent(&relay.address, data.path());
    let _agent = Agent::start(command.args(["--udp-port", "0"]), data.path());
    let said = relay.admit(&[]);
    let port = said["udp_port"].as_u64().unwrap();
    assert_ne!(port, 0);
    let taken = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, u16::try_from(port).unwrap()));
    assert_eq!(taken.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    let interfaces = said["interfaces"].as_array().unwrap();
    let loopback = serde_json::json!({"address": "127.0.0.1", "prefix": 8});
    assert!(interfaces.contains(&loopback), "{said}");
}

#[test]
fn without_datagrams_no_port_is_stated_and_written_addresses_win() {
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start();
    let mut command = agent(&relay.address, data.path());
    command.env("TAUTLINE_CLIENT_INTERFACES", "[\"10.7.0.5/24\"]");
    let _agent = Agent::start(command.args(["--udp-port", "off"]), data.path());
    let said = relay.admit(&[]);
    assert_eq!(said["udp_port"], 0);
    let written = serde_json::json!([{"address": "10.7.0.5", "prefix": 24}]);
    assert_eq!(said["interfaces"], written);
}

#[test]
fn a_port_that_is_taken_ends_the_agent_that_was_given_it() {
    let data = tempfile::tempdir().unwrap();
    let taken = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut command = agent("127.0.0.1:1", data.path());
    let output = command.args(["--udp-port", &port.to_string()]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    let expected = format!("tautline: UDP port {port}: Address already in use (os error 98); name");
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn the_usual_port_gives_way() {
    let usual = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 52_311));
    let data = tempfile::tempdir().unwrap();
    let relay = Relay::start();
    let mut command = agent(&relay.address, data.path());
    command.env_remove("TAUTLINE_CLIENT_UDP_PORT");
    let _agent = Agent::start(&mut command, data.path());
    let said = relay.admit(&[]);
    // Whoever has it, this test or another process: it is taken.
    assert_ne!(said["udp_port"], 0);
    assert_ne!(said["udp_port"], 52_311);
    let told = log(data.path());
    assert!(told.contains("UDP port 52311 cannot be taken"), "{told}");
    drop(usual);
}
