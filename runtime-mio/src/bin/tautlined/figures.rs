//! From settings to the figures of the core.

use std::time::Duration;

use tautline_core::registration::{GrantSettings, Role, Site};
use tautline_core::relay;

use crate::descriptors;
use crate::identity::Identity;
use crate::settings::{self, Settings};

/// What the relay is told.
pub(crate) fn of(settings: &Settings, identity: &Identity) -> relay::Settings {
    let mut figures = relay::Settings::new(identity.key.clone(), identity.incarnation);
    let registry = &mut figures.registry;
    registry.period = Duration::from_secs(settings.registration.period_s.into());
    registry.missed_periods_max = settings.registration.missed_periods_max;
    registry.secrets_over_plaintext = settings.listen.secrets_over_plaintext;
    registry.role = match settings.role {
        settings::Role::Relay => Role::Relay,
        settings::Role::Root => Role::Root,
    };
    let lines = &settings.persistent_connections;
    registry.persistent_connections = lines.enabled;
    registry.connections_max = lines.connections_max;
    registry.connections_per_subnet_max = lines.per_subnet_max;
    registry.connections_per_address_max = lines.per_address_max;
    registry.grant = GrantSettings {
        wait: Duration::from_millis(lines.wait_ms),
        retry_delay: Duration::from_millis(lines.retry_delay_ms),
        attempts_max: lines.attempts_max,
        attempt_timeout: Duration::from_millis(lines.attempt_timeout_ms),
        tests: lines.test_sends_ms.map(Duration::from_millis),
    };
    let site = |site: &settings::Site| Site {
        name: site.name.clone(),
        networks: site.networks().collect(),
    };
    registry.sites = settings.sites.iter().map(site).collect();
    figures.line_stall = Duration::from_millis(lines.line_stall_ms);
    figures.return_window = Duration::from_millis(settings.shutdown.return_window_ms);
    figures.heartbeat = settings.heartbeat.of_relay(&settings.places());
    figures.datagrams_per_second_max = settings.notifications.datagrams_per_second_max;
    figures
}

/// How much the relay holds, as far as the system gives descriptors.
pub(crate) fn limits(settings: &Settings) -> relay::Limits {
    let mut limits = relay::Limits::default();
    let connections_wanted = settings.limits.connections_wanted();
    limits.connections_max = descriptors::budget(connections_wanted);
    limits.registry.clients_max = settings.limits.clients_max;
    let notifications = &settings.notifications;
    limits.router.served_timeout = Duration::from_millis(notifications.served_timeout_ms);
    limits.router.sulk = Duration::from_millis(notifications.sulk_ms);
    if limits.connections_max < connections_wanted {
        let connections_max = limits.connections_max;
        if settings.limits.connections_max.is_some() {
            tracing::info!(
                connections_max,
                "fewer connections than configured: the limit of descriptors is lower"
            );
        } else {
            tracing::debug!(connections_max, "the limit of descriptors bounds them");
        }
    }
    limits
}
