//! The example of a pool behind a firewall that forgets, as a process.

use std::process::Command;

use tautline_tests::example;

/// How many requests timed out in a run and how many connections it lost, as
/// its last line says.
fn counts(output: &str, run: &str) -> [u32; 2] {
    let last = output.lines().rfind(|line| line.contains(run));
    let last = last.unwrap_or_else(|| panic!("no run {run} in {output}"));
    [" timed out", " connections lost"].map(|what| {
        let before = last.split(what).next().filter(|before| before != &last);
        let figure = before.and_then(|before| before.rsplit(' ').next());
        let figure = figure.and_then(|figure| figure.parse().ok());
        figure.unwrap_or_else(|| panic!("no figure before {what:?} in {last:?}"))
    })
}

#[test]
fn heartbeats_keep_a_pool_that_a_firewall_would_forget() {
    let told = Command::new(example("pool")).output();
    let told = told.expect("the example starts");
    let output = String::from_utf8_lossy(&told.stdout);
    let failure = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{failure}{output}");
    assert_eq!(counts(&output, "with heartbeats"), [0, 0], "{output}");
    let [timed_out, lost] = counts(&output, "without");
    assert!(timed_out > 0 && lost >= timed_out, "{output}");
}
