//! How many instructions an operation takes: figures that do not depend on
//! the machine's load, and show whether a cost grows with the size of a table.
//!
//! ```sh
//! cargo bench -p tautline-tests --bench instructions                      # all of it
//! cargo bench -p tautline-tests --bench instructions -- relay wire/frame  # rooms, scenarios
//! ```
//!
//! Each scenario runs once for each of its sizes as a process of its own under
//! Valgrind (Debian package `valgrind`), which counts what [`scenario::counted`]
//! runs and nothing of the set-up. The count is that of the instructions that
//! Valgrind emulates: SHA-256 runs without the processor's SHA instructions,
//! so what proves and seals costs more here than it does natively.
//!
//! A room of core has a file here; a scenario is an entry in its `SCENARIOS`.

mod callgrind;
mod collections;
#[path = "../../../core/benches/inputs/exchange.rs"]
mod exchange;
mod heartbeat;
mod http;
#[path = "../../../core/benches/inputs/messages.rs"]
mod messages;
mod registration;
mod relay;
mod rig;
mod scenario;
#[path = "../../../core/benches/inputs/subnets.rs"]
mod subnets;
#[path = "../../../core/benches/inputs/timers.rs"]
mod timers;
mod ways;
mod wire;

use std::process::ExitCode;

use scenario::Scenario;

const ROOMS: &[&[Scenario]] = &[
    collections::SCENARIOS,
    wire::SCENARIOS,
    http::SCENARIOS,
    heartbeat::SCENARIOS,
    registration::SCENARIOS,
    relay::SCENARIOS,
    ways::SCENARIOS,
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match &arguments[..] {
        [flag, name, size] if flag == callgrind::COUNT => count_here(name, size),
        // What else starts it, such as `cargo test --benches`, wants no figures.
        arguments if !arguments.iter().any(|word| word == "--bench") => Ok(()),
        arguments => chosen(arguments).and_then(|chosen| print_table(&chosen)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn all() -> impl Iterator<Item = &'static Scenario> {
    ROOMS.iter().copied().flatten()
}

/// The process under Valgrind: does the work, and says how many operations
/// it was.
fn count_here(name: &str, size: &str) -> Result<(), String> {
    let scenario = all()
        .find(|scenario| scenario.name == name)
        .ok_or_else(|| format!("no scenario is called {name:?}"))?;
    let size = size
        .parse()
        .map_err(|why| format!("the size {size:?}: {why}"))?;
    println!("{}", (scenario.run)(size));
    Ok(())
}

/// The scenarios that the words name, or all if there is no word.
fn chosen(arguments: &[String]) -> Result<Vec<&'static Scenario>, String> {
    let words: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|word| *word != "--bench")
        .collect();
    if let Some(word) = words.iter().find(|word| !all().any(|one| one.is(word))) {
        let names: Vec<&str> = all().map(|scenario| scenario.name).collect();
        return Err(format!(
            "no scenario or room is called {word:?}; there are\n  {}",
            names.join("\n  ")
        ));
    }
    let wanted = |one: &&Scenario| words.is_empty() || words.iter().any(|word| one.is(word));
    Ok(all().filter(wanted).collect())
}

fn print_table(scenarios: &[&Scenario]) -> Result<(), String> {
    println!(
        "{:<36} {:>21} {:>26} {:>7}",
        "scenario", "size", "instructions/operation", "ratio"
    );
    for scenario in scenarios {
        let mut first = None;
        for size in scenario.sizes {
            let cost = callgrind::count(scenario.name, *size)
                .map_err(|why| format!("{} at {size}: {why}", scenario.name))?;
            let with_unit = format!("{} {}", grouped(*size), scenario.unit);
            print!("{:<36} {with_unit:>21} {cost:>26.1}", scenario.name);
            match first {
                None => println!(),
                Some(first) => println!(" {:>7.2}", cost / first),
            }
            first.get_or_insert(cost);
        }
    }
    Ok(())
}

/// With a comma between thousands.
fn grouped(number: usize) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1_000), number % 1_000),
    }
}
