//! `tautline query`.

use std::time::Duration;

use clap::Args;
use tautline_core::notify::LIFETIME_MAX;

use super::Access;
use super::conversation::Conversation;
use super::message::Message;
use crate::Failure;

/// Asks clients something: prints their replies as they come, and at the end
/// who is missing. 0 if all replied, 1 if not.
#[derive(Debug, Args)]
#[command(
    override_usage = "tautline query [OPTIONS] <CLIENT|--all|--subnet NAME|--site NAME> [PAYLOAD]"
)]
pub(crate) struct Flags {
    #[command(flatten)]
    message: Message,
    /// How long to wait for replies
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=LIFETIME_MAX.as_secs()))]
    wait: u64,
    /// Print JSON: one reply a line, then the figures with all that are missing
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    access: Access,
}

pub(crate) fn run(flags: &Flags) -> Result<(), Failure> {
    let (relay, notification) = flags.message.send(&flags.access)?;
    let conversation = Conversation {
        relay: &relay,
        notification: &notification,
        wait: Duration::from_secs(flags.wait),
        json: flags.json,
        names_missing: true,
    };
    conversation.run()
}
