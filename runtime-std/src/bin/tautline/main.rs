//! `tautline`: the agent, and the operator's commands.

mod agent;
mod operator;
mod text;

use std::fmt;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tautline_std::settings::EXIT_CONFIG;

/// Keeps a line to a relay, and speaks with relays.
#[derive(Debug, Parser)]
#[command(name = "tautline", version, max_term_width = 100)]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep a line to a relay and answer its notifications, until SIGTERM
    Agent(agent::Flags),
    /// Have the agent on this machine select its relay anew, the best that works
    Select(agent::select::Flags),
    /// Notify a client, a subnet, a site or all, and print the replies
    Notify(operator::notify::Flags),
    /// Ask a client, a subnet, a site or all, print the replies and who is missing
    Query(operator::query::Flags),
    /// List the clients that a relay knows
    Clients(operator::clients::Flags),
    /// List the subnets of the clients, and how each is served
    Subnets(operator::subnets::Flags),
    /// Show a relay's figures
    Status(operator::status::Flags),
}

fn main() -> ExitCode {
    let result = match Flags::parse().command {
        Command::Agent(flags) => agent::run(&flags),
        Command::Select(flags) => agent::select::run(&flags),
        Command::Notify(flags) => operator::notify::run(&flags),
        Command::Query(flags) => operator::query::run(&flags),
        Command::Clients(flags) => operator::clients::run(&flags),
        Command::Subnets(flags) => operator::subnets::run(&flags),
        Command::Status(flags) => operator::status::run(&flags),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            ExitCode::from(failure.exit_code)
        }
    }
}

/// Why a command ends without success.
#[derive(Debug)]
struct Failure {
    message: String,
    exit_code: u8,
}

impl Failure {
    /// Something did not work: exit code 1.
    fn new(message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
            exit_code: 1,
        }
    }

    /// The command line is wrong: exit code 2.
    fn usage(message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
            exit_code: 2,
        }
    }

    /// Says it on standard error.
    fn tell(&self) {
        // Without a standard error there is nobody to tell.
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("tautline: {}\n", self.message),
        );
    }

    /// The configuration is wrong: exit code 78.
    fn configuration(message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
            exit_code: EXIT_CONFIG,
        }
    }
}
