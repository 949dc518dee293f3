//! What a peer is handed to pass on to others of its subnet.

use core::net::SocketAddr;

use super::content_of;
use crate::registration::ClientRecord;
use crate::relay::Relay;
use crate::relay::connection::Role;
use crate::wire::datagram::Fanout as Digest;
use crate::wire::message::ServeWriter;
use crate::{ClientId, ConnId, Key};

/// Bytes of a frame that a peer passes on: small beside what is written at
/// once, large beside what its targets share.
const SERVE_BYTES_MAX: usize = 16_384;

impl Relay {
    /// Writes a frame with what the peer on the line is to pass on to others of
    /// its subnet; returns its length, 0 if there is nothing, or no room for it
    /// in `buf`. What it can pass on no longer takes another way.
    pub(in crate::relay) fn write_serve(
        &mut self,
        line: Key,
        subnet: Key,
        buf: &mut [u8],
    ) -> usize {
        loop {
            let first = self.router.next_batch(line).next();
            let Some(first) = first else {
                return 0;
            };
            if self.served_at(first.client, subnet).is_some()
                && self.notifier.is_alive(first.notification)
            {
                return self.write_batch(line, subnet, first.notification, buf);
            }
            self.router.skip(line, 1);
            self.bring_to(first.client, first.notification);
        }
    }

    fn write_batch(&mut self, line: Key, subnet: Key, notification: Key, buf: &mut [u8]) -> usize {
        let Some(message) = self.notifier.message(notification) else {
            return 0;
        };
        let content = content_of(&message);
        let digest = match self.served_digest {
            Some((of, lifetime_s, digest))
                if (of, lifetime_s) == (notification, message.lifetime_s) =>
            {
                digest
            }
            _ => Digest::new(&content),
        };
        self.served_digest = Some((notification, message.lifetime_s, digest));
        let room = buf.len().min(SERVE_BYTES_MAX);
        let mut writer = ServeWriter::new(&mut buf[..room], &content);
        let mut targets = 0;
        for leg in self.router.next_batch(line) {
            let record = self.registry.get(leg.client);
            let Some((id, address)) = record.and_then(|record| passed_on_to(record, subnet)) else {
                break;
            };
            // A counter that is not used would look like a loss.
            if !writer.has_room() {
                break;
            }
            let Some((counter, session)) = self.registry.datagram_key(leg.client) else {
                break;
            };
            let mac = digest.mac(id, counter, session);
            if !writer.push(address, id, counter, mac) {
                break;
            }
            targets += 1;
        }
        let Some(sequence) = self.router.begin_batch(self.now, line, targets) else {
            return 0;
        };
        writer.finish(sequence).unwrap_or_default()
    }

    /// Where a peer of the subnet finds the client.
    fn served_at(&self, client: Key, subnet: Key) -> Option<SocketAddr> {
        let record = self.registry.get(client)?;
        passed_on_to(record, subnet).map(|(_, address)| address)
    }

    /// A client's line serves its subnet, or another one than before, or no
    /// longer any.
    pub(in crate::relay) fn settle_peer(&mut self, conn: ConnId) {
        let Some(open) = self.conns.get_mut(conn.key()) else {
            return;
        };
        let Role::Line(line) = &mut open.role else {
            return;
        };
        // Who takes no datagrams itself has no socket to send any.
        let serves = self
            .registry
            .get(line.client)
            .filter(|record| record.local_address().is_some())
            .map(|record| record.subnet);
        if line.serves == serves {
            return;
        }
        line.serves = serves;
        let (leaves, blocked) = (line.is_leaving(), open.blocked);
        let Some(subnet) = serves.filter(|_| !leaves) else {
            return self.router.handle_line_closed(conn.key());
        };
        let room = self.limits.router.legs_per_line_max;
        self.router.handle_line_opened(conn.key(), subnet, room);
        if blocked {
            self.router.handle_line_blocked(self.now, conn.key());
        }
    }
}

/// The client, as long as a peer of the subnet is its way: it is in the subnet
/// and has no connection of its own.
fn passed_on_to(record: &ClientRecord, subnet: Key) -> Option<(ClientId, SocketAddr)> {
    let is_there = record.subnet == subnet && !record.is_connected();
    Some((record.id, record.local_address().filter(|_| is_there)?))
}
