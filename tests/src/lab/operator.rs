//! The operator, who sits at the relay.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tautline_std::call::Caller;
use tautline_std::private::Secret;

use super::{Host, PORT};
use crate::{binary, wait_for};

/// Asks the relay on the relay's own machine.
#[derive(Debug)]
pub struct Operator<'a> {
    relay: &'a Host,
    caller: Caller,
    token: String,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl<'a> Operator<'a> {
    /// The operator of a relay that has started once: its token is in `data`.
    pub(super) fn new(relay: &'a Host, data: &Path) -> Self {
        let token = std::fs::read_to_string(data.join("operator-token")).expect("a token");
        let token = token.trim().to_owned();
        let origin = format!("127.0.0.1:{PORT}").parse().expect("an origin");
        let caller = Caller {
            origin,
            tls: None,
            token: Some(Secret::new(&token)),
            sends_token_in_clear: false,
            timeout: Duration::from_secs(10),
        };
        Self {
            relay,
            caller,
            token,
        }
    }

    /// What the relay answers to GET.
    ///
    /// # Panics
    /// When it is not JSON with a status of success.
    pub fn get(&self, target: &str) -> Value {
        self.ask("GET", target, "")
    }

    /// A figure of `/metrics`, by its whole name with its labels.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.call("GET", "/metrics", "");
        let of_line = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        let figure = text.lines().find_map(of_line);
        figure.unwrap_or_else(|| panic!("no {name}: {text}"))
    }

    fn ask(&self, method: &str, target: &str, body: &str) -> Value {
        let answer = self.call(method, target, body);
        serde_json::from_str(&answer).expect("JSON")
    }

    fn call(&self, method: &str, target: &str, body: &str) -> String {
        let call = || self.caller.call(method, target, body.as_bytes());
        let answer = self.relay.space.inside(call);
        let answer = answer.unwrap_or_else(|error| panic!("{method} {target}: {error}"));
        let said = text(&answer.body);
        assert!(
            (200..300).contains(&answer.status),
            "{method} {target} {body}: {said}"
        );
        said
    }

    /// All clients, by their hostname.
    ///
    /// # Panics
    /// When two have the same one.
    pub fn clients(&self) -> BTreeMap<String, Value> {
        let page = self.get("/v1/clients");
        assert_eq!(page["next"], Value::Null, "more than one page");
        let clients = page["clients"].as_array().expect("a list");
        let mut by_name = BTreeMap::new();
        for client in clients {
            let name = client["hostname"].as_str().expect("a name").to_owned();
            let twin = by_name.insert(name, client.clone());
            assert_eq!(twin, None, "two of one name");
        }
        by_name
    }

    /// All subnets by their name: clients, of them connected, of them granted.
    ///
    /// # Panics
    /// When there are more than fit one page.
    pub fn subnets(&self) -> BTreeMap<String, [u64; 3]> {
        let page = self.get("/v1/subnets");
        assert_eq!(page["next"], Value::Null, "more than one page");
        let subnets = page["subnets"].as_array().expect("a list").iter();
        let read = |subnet: &Value| {
            let name = subnet["subnet"].as_str().expect("a name").to_owned();
            let figure = |key: &str| subnet[key].as_u64().expect("a number");
            (name, ["clients", "connected", "granted"].map(figure))
        };
        subnets.map(read).collect()
    }

    /// Runs `tautline` as an operator would, and prints what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn show(&self, arguments: &[&str]) -> String {
        let mut command = self.relay.space.command(binary("tautline"));
        command.args(arguments).env("TAUTLINE_TOKEN", &self.token);
        let output = command.output().expect("the command starts");
        let (said, wrong) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {said}{wrong}");
        println!("$ tautline {}\n{said}", arguments.join(" "));
        said
    }

    /// Waits until a client's record is as wanted, and returns it.
    ///
    /// # Panics
    /// When it does not become so.
    pub fn wait_for_client(&self, host: &Host, wanted: impl Fn(&Value) -> bool) -> Value {
        let what = format!("the right record of {}", host.name);
        wait_for(what, || {
            let client = self.clients().remove(host.name)?;
            wanted(&client).then_some(client)
        })
    }

    /// Notifies one client; the notification's id.
    ///
    /// # Panics
    /// When the relay does not know it.
    pub fn notify(&self, host: &Host, payload: &str) -> String {
        let client = self.clients().remove(host.name);
        let id = &client.expect("a client")["client"];
        self.notify_target(json!({ "client": id }), payload)
    }

    /// Notifies all; the notification's id.
    ///
    /// # Panics
    /// When the relay refuses.
    pub fn notify_all(&self, payload: &str) -> String {
        self.notify_target(json!({ "all": true }), payload)
    }

    /// Notifies a target; the notification's id.
    ///
    /// # Panics
    /// When the relay refuses.
    pub fn notify_target(&self, target: Value, payload: &str) -> String {
        let body = json!({ "target": target, "payload": payload }).to_string();
        let made = self.ask("POST", "/v1/notifications", &body);
        made["notification"].as_str().expect("an id").to_owned()
    }

    /// How far a notification came, as the relay says it.
    ///
    /// # Panics
    /// When the relay does not know it.
    pub fn progress(&self, notification: &str) -> Value {
        self.get(&format!("/v1/notifications/{notification}"))
    }

    /// The replies that are there, by hostname.
    ///
    /// # Panics
    /// When one client replied twice.
    pub fn replies(&self, notification: &str) -> BTreeMap<String, String> {
        let progress = self.progress(notification);
        let replies = progress["replies"].as_array().expect("a list");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let by_name: BTreeMap<_, _> = replies
            .iter()
            .map(|reply| (text(&reply["hostname"]), text(&reply["payload"])))
            .collect();
        assert_eq!(by_name.len(), replies.len(), "two replies of one");
        by_name
    }

    /// Waits until these hosts have replied. That nobody else has is for the
    /// caller to say.
    ///
    /// # Panics
    /// When one of them does not.
    pub fn wait_for_replies(&self, notification: &str, of: &[&Host]) -> BTreeMap<String, String> {
        wait_for(format_args!("the replies to {notification}"), || {
            let replies = self.replies(notification);
            let all = of.iter().all(|host| replies.contains_key(host.name));
            all.then_some(replies)
        })
    }
}
