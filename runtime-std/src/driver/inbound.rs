//! The receiving direction of a connection.

use std::io::{self, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use tautline_core::{ConnId, FileId};

use super::line::LineNews;
use super::{News, Post};
use crate::tls;

/// A buffer with what is still to be used of it.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Chunk {
    fn new(len: usize) -> Self {
        Self {
            bytes: vec![0; len],
            start: 0,
            end: 0,
        }
    }

    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
    }

    /// Takes the place of the content by what `fill` puts there.
    fn refill(&mut self, fill: impl FnOnce(&mut [u8]) -> usize) {
        self.end = fill(&mut self.bytes);
        self.start = 0;
    }
}

/// A `Take` that is under way.
#[derive(Debug)]
pub(super) struct Taking {
    pub(super) sink: FileId,
    pub(super) offset: u64,
    pub(super) len: u64,
    /// A part is with the storage.
    pub(super) is_writing: bool,
}

/// What was received and is not used yet.
#[derive(Debug)]
pub(super) struct Inbound {
    /// As it came from the line; `None` while the reader has the buffer.
    raw: Option<Chunk>,
    /// Decrypted, under TLS.
    plain: Chunk,
    /// Gives the reader its buffer back, so that it goes on.
    reader: SyncSender<Chunk>,
    /// The endpoint did not take all.
    pub(super) is_paused: bool,
    /// The endpoint is done with the connection; what comes is dropped.
    pub(super) is_dropping: bool,
    pub(super) taking: Option<Taking>,
    /// The peer's end was read.
    pub(super) has_ended: bool,
    pub(super) is_end_told: bool,
}

impl Inbound {
    /// Starts the thread that reads.
    pub(super) fn start(
        conn: ConnId,
        stream: Arc<TcpStream>,
        is_tls: bool,
        read_bytes: usize,
        post: Post,
    ) -> io::Result<Self> {
        let (reader, buffers) = sync_channel(1);
        thread::Builder::new()
            .name("reader".to_owned())
            .spawn(move || read_all(conn, &stream, &buffers, &post))?;
        let mut inbound = Self {
            raw: Some(Chunk::new(read_bytes)),
            plain: Chunk::new(if is_tls { read_bytes } else { 0 }),
            reader,
            is_paused: false,
            is_dropping: false,
            taking: None,
            has_ended: false,
            is_end_told: false,
        };
        inbound.read_on();
        Ok(inbound)
    }

    /// The reader brought something.
    pub(super) fn put(&mut self, chunk: Chunk) {
        self.raw = Some(chunk);
    }

    /// Has the reader go on, once all that it brought is used.
    pub(super) fn read_on(&mut self) {
        if let Some(chunk) = self.raw.take_if(|chunk| chunk.is_empty())
            && !self.has_ended
        {
            // There is one buffer, so there is room for it; a reader that is
            // gone has reported why.
            let _ = self.reader.try_send(chunk);
        }
    }

    /// Bytes for the endpoint that are at hand.
    pub(super) fn waiting(&self, is_tls: bool) -> &[u8] {
        if is_tls {
            self.plain.rest()
        } else {
            self.raw.as_ref().map_or(&[], Chunk::rest)
        }
    }

    pub(super) fn consume(&mut self, is_tls: bool, count: usize) {
        if is_tls {
            self.plain.consume(count);
        } else if let Some(raw) = &mut self.raw {
            raw.consume(count);
        }
    }

    /// Decrypts until something for the endpoint is at hand or all is used.
    pub(super) fn decrypt(&mut self, session: &mut tls::Session) -> Result<(), tls::TlsError> {
        while self.plain.is_empty() {
            self.plain.refill(|buf| session.read_plaintext(buf));
            if !self.plain.is_empty() {
                break;
            }
            if session.has_peer_closed() {
                self.has_ended = true;
            }
            let Some(raw) = self.raw.as_mut().filter(|raw| !raw.is_empty()) else {
                break;
            };
            let count = session.feed(raw.rest())?;
            raw.consume(count);
        }
        Ok(())
    }
}

fn read_all(conn: ConnId, stream: &TcpStream, buffers: &Receiver<Chunk>, post: &Post) {
    let mut stream = stream;
    while let Ok(mut chunk) = buffers.recv() {
        let mut result = Ok(0);
        chunk.refill(|buf| {
            result = read_some(&mut stream, buf);
            *result.as_ref().unwrap_or(&0)
        });
        let (news, is_last) = match result {
            Ok(0) => (LineNews::Ended, true),
            Ok(_) => (LineNews::Read(chunk), false),
            Err(error) => (LineNews::Failed(error.kind()), true),
        };
        if post.send(News::Line(conn, news)).is_err() || is_last {
            return;
        }
    }
}

fn read_some(stream: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buf) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
