//! `tautline notify`.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use tautline_core::notify::LIFETIME_MAX;

use super::Access;
use super::conversation::Conversation;
use super::message::Message;
use crate::Failure;
use crate::text::{print, printable};

#[derive(Debug, Args)]
#[command(
    override_usage = "tautline notify [OPTIONS] <CLIENT|--all|--subnet NAME|--site NAME> [PAYLOAD]"
)]
pub(crate) struct Flags {
    #[command(flatten)]
    message: Message,
    /// How long to wait for replies; 0 does not wait
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=LIFETIME_MAX.as_secs()))]
    wait: u64,
    /// Print JSON: one reply a line, then the figures
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    access: Access,
}

pub(crate) fn run(flags: &Flags) -> Result<(), Failure> {
    let (relay, notification) = flags.message.send(&flags.access)?;
    if flags.wait == 0 {
        return print(&if flags.json {
            format!("{}\n", json!({ "notification": notification }))
        } else {
            format!("notification {}\n", printable(&notification))
        });
    }
    let conversation = Conversation {
        relay: &relay,
        notification: &notification,
        wait: Duration::from_secs(flags.wait),
        json: flags.json,
        names_missing: false,
    };
    conversation.run()
}
