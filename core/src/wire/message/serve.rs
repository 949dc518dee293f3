//! A frame by which a relay has one client pass datagrams on to others of its
//! subnet: who gets one, and what all of them share.
//!
//! The relay seals each datagram under its target's key; the client that
//! passes it on cannot read a key out of it, change it, or send it to another
//! target than the one it was sealed for.

use core::net::{Ipv6Addr, SocketAddr};

use super::super::BufferTooSmall;
use super::super::cursor::{Reader, Truncated, Writer};
use super::super::datagram::{self, BODY_BYTES_MAX, Content, Mac};
use super::super::frame::{HEADER_BYTES, Header};
use super::body::{HEAD_BYTES_MAX, Head, head};
use super::{MessageError, kind};
use crate::ClientId;

/// The length of a target in a [`Serve`], in bytes.
pub const SERVE_TARGET_BYTES: usize = 46;

/// The longest body of a [`Serve`] with one target, in bytes: what a receiver
/// has to allow at least.
pub const SERVE_BODY_BYTES_MIN: usize = HEAD_BYTES_MAX + SERVE_TARGET_BYTES + BODY_BYTES_MAX;
const _: () = assert!(HEADER_BYTES + SERVE_BODY_BYTES_MIN <= crate::OUTPUT_BUF_MIN);

/// Datagrams that the client at the other end is to send, one to each target.
/// It answers with [`Served`](super::Served).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serve<'a> {
    /// The number of the frame on its connection, from 1 on, each by one.
    pub sequence: u32,
    content_kind: u8,
    targets: u16,
    number: u64,
    /// The targets, then what stands behind the header of each datagram.
    pub(super) payload: &'a [u8],
}

/// Where one of the datagrams goes, and what is its alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeTarget {
    /// Where to: an IPv4 address is one, never mapped into IPv6. Not judged in
    /// any way.
    pub address: SocketAddr,
    tag: [u8; 4],
    counter: u64,
    mac: Mac,
}

impl<'a> Serve<'a> {
    pub(super) fn read(mut body: Reader<'a>) -> Result<Self, MessageError> {
        let (sequence, content_kind, _reserved) = (body.u32()?, body.u8()?, body.u8()?);
        let (targets, number) = (body.u16()?, body.u64()?);
        let payload = body.rest();
        let shared = payload
            .get(targets_bytes(targets)..)
            .ok_or(MessageError::Truncated)?;
        if shared.len() > BODY_BYTES_MAX {
            return Err(MessageError::TooLong);
        }
        Ok(Self {
            sequence,
            content_kind,
            targets,
            number,
            payload,
        })
    }

    pub(super) fn head(&self) -> Head {
        head(&[
            &self.sequence.to_be_bytes(),
            &[self.content_kind, 0],
            &self.targets.to_be_bytes(),
            &self.number.to_be_bytes(),
        ])
    }

    /// How many targets there are.
    pub const fn len(&self) -> usize {
        self.targets as usize
    }

    /// Whether there is no target.
    pub const fn is_empty(&self) -> bool {
        self.targets == 0
    }

    /// The targets, in the order they were put in.
    pub fn targets(&self) -> impl Iterator<Item = ServeTarget> + use<'a> {
        let (targets, _) = self.split();
        targets
            .chunks_exact(SERVE_TARGET_BYTES)
            .filter_map(|target| ServeTarget::read(Reader::new(target)).ok())
    }

    /// The target at this place, from 0.
    pub fn target(&self, place: usize) -> Option<ServeTarget> {
        let begin = place.checked_mul(SERVE_TARGET_BYTES)?;
        let target = self.split().0.get(begin..)?;
        ServeTarget::read(Reader::new(target)).ok()
    }

    /// How long each datagram is, in bytes; at most
    /// [`DATAGRAM_BYTES_MAX`](datagram::DATAGRAM_BYTES_MAX).
    pub fn datagram_bytes(&self) -> usize {
        datagram::HEADER_BYTES + self.split().1.len()
    }

    /// Writes the datagram for one of the targets and returns its length.
    ///
    /// # Errors
    /// [`BufferTooSmall`] if it does not fit;
    /// [`datagram_bytes`](Self::datagram_bytes) are enough.
    pub fn datagram(&self, target: &ServeTarget, buf: &mut [u8]) -> Result<usize, BufferTooSmall> {
        let mut writer = Writer::new(buf);
        let per_target = datagram::PerTarget {
            tag: target.tag,
            counter: target.counter,
            mac: target.mac,
        };
        datagram::write_header(&mut writer, self.content_kind, self.number, &per_target);
        writer.bytes(self.split().1);
        writer.finish()
    }

    fn split(&self) -> (&'a [u8], &'a [u8]) {
        self.payload
            .split_at_checked(targets_bytes(self.targets))
            .unwrap_or_default()
    }
}

impl ServeTarget {
    fn read(mut target: Reader<'_>) -> Result<Self, Truncated> {
        let address = Ipv6Addr::from(target.array::<16>()?).to_canonical();
        Ok(Self {
            address: SocketAddr::new(address, target.u16()?),
            tag: target.array()?,
            counter: target.u64()?,
            mac: Mac(target.array()?),
        })
    }
}

/// Writes a [`Serve`] frame into the caller's buffer, target by target.
///
/// ```
/// use core::net::SocketAddr;
/// use tautline_core::ClientId;
/// use tautline_core::wire::datagram::{Content, Fanout, Test};
/// use tautline_core::wire::frame::HEADER_BYTES;
/// use tautline_core::wire::message::{ServeWriter, ToClient, kind};
/// use tautline_core::wire::proof::SessionKey;
///
/// let (client, key) = (ClientId([2; 16]), SessionKey([1; 32]));
/// let content = Content::Test(Test { nonce: 7 });
/// let fanout = Fanout::new(&content);
///
/// let mut buf = [0; 2_048];
/// let mut writer = ServeWriter::new(&mut buf, &content);
/// let address = SocketAddr::from(([10, 0, 0, 7], 52_311));
/// assert!(writer.push(address, client, 1, fanout.mac(client, 1, &key)));
/// let len = writer.finish(1).expect("it has a target");
///
/// let frame = ToClient::parse(kind::SERVE, &buf[HEADER_BYTES..len]);
/// let Ok(Some(ToClient::Serve(serve))) = frame else {
///     panic!("{frame:?}");
/// };
/// let target = serve.targets().next().unwrap();
/// assert_eq!(target.address, address);
/// let (mut passed_on, mut direct) = ([0; 40], [0; 40]);
/// serve.datagram(&target, &mut passed_on)?;
/// fanout.encode(&content, client, 1, &key, &mut direct)?;
/// assert_eq!(passed_on, direct);
/// # Ok::<(), tautline_core::wire::BufferTooSmall>(())
/// ```
#[derive(Debug)]
pub struct ServeWriter<'b, 'c> {
    buf: &'b mut [u8],
    content: &'c Content<'c>,
    targets: u16,
}

impl<'b, 'c> ServeWriter<'b, 'c> {
    /// A frame without targets yet. `content` is what their MACs were made of.
    pub const fn new(buf: &'b mut [u8], content: &'c Content<'c>) -> Self {
        Self {
            buf,
            content,
            targets: 0,
        }
    }

    /// Whether one more target finds room.
    pub fn has_room(&self) -> bool {
        let targets = self.targets.checked_add(1);
        self.content.fits()
            && targets.is_some_and(|targets| self.frame_bytes(targets) <= self.buf.len())
    }

    /// Puts a target behind those that are there. `false` says that nothing
    /// was put: there is no room in the buffer, or none for content that does
    /// not [fit](Content::fits) a datagram.
    pub fn push(&mut self, address: SocketAddr, client: ClientId, counter: u64, mac: Mac) -> bool {
        let Some(targets) = self.targets.checked_add(1).filter(|_| self.has_room()) else {
            return false;
        };
        let place = self.targets_end();
        let ip = match address.ip().to_canonical() {
            core::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            core::net::IpAddr::V6(ip) => ip,
        };
        let mut writer = Writer::new(self.buf.get_mut(place..).unwrap_or_default());
        writer.bytes(&ip.octets());
        writer.u16(address.port());
        writer.bytes(&datagram::tag(client));
        writer.u64(counter);
        writer.bytes(&mac.0);
        self.targets = targets;
        true
    }

    /// Writes what all targets share and returns the length of the whole
    /// frame; `None` if it has no target. `sequence` is the frame's number on
    /// its connection.
    pub fn finish(self, sequence: u32) -> Option<usize> {
        if self.targets == 0 {
            return None;
        }
        let (end, len) = (self.targets_end(), self.frame_bytes(self.targets));
        let serve = Serve {
            sequence,
            content_kind: self.content.kind(),
            targets: self.targets,
            number: self.content.number(),
            payload: &[],
        };
        let mut writer = Writer::new(self.buf.get_mut(HEADER_BYTES..)?);
        writer.bytes(&serve.head());
        let mut writer = Writer::new(self.buf.get_mut(end..)?);
        self.content.write_body(&mut |bytes| writer.bytes(bytes));
        let (place, body) = self.buf.get_mut(..len)?.split_first_chunk_mut()?;
        let header = Header::for_body(kind::SERVE, 0, &[body]).ok()?;
        *place = *header.as_bytes();
        Some(len)
    }

    const fn targets_end(&self) -> usize {
        HEADER_BYTES + HEAD_BYTES_MAX + targets_bytes(self.targets)
    }

    const fn frame_bytes(&self, targets: u16) -> usize {
        let shared = self.content.encoded_len() - datagram::HEADER_BYTES;
        (HEADER_BYTES + HEAD_BYTES_MAX + targets_bytes(targets)).saturating_add(shared)
    }
}

const fn targets_bytes(targets: u16) -> usize {
    targets as usize * SERVE_TARGET_BYTES
}
