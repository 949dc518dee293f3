//! What an endpoint wants done is done.

use tautline_core::{Close, CloseReason, ConnId, FileId, Input, Output, Ticket};

use super::World;
use super::app::Running;
use super::disk::{Job, Task};
use super::net::{LinkId, Side};
use super::node::{Conn, NodeId, Out, State, Take};
use super::trace::Brief;

/// Bytes of a file that a driver moves at a time.
const MOVE_BYTES_MAX: usize = 8 * 1024;

impl World {
    pub(super) fn carry_out(
        &mut self,
        node: NodeId,
        running: &mut dyn Running,
        output: Output<'_, ()>,
    ) {
        match output {
            Output::Write { conn, bytes } => self.write(node, running, conn, bytes),
            Output::Resume { conn } => {
                self.note(node, format_args!("resume {conn:?}"));
                let state = self.live(node, conn);
                if state.stalled && state.state == State::Open && state.take.is_none() {
                    self.offer(node, running, conn);
                }
            }
            Output::Connect {
                conn,
                host,
                port,
                tls,
            } => {
                self.note(node, format_args!("connect {conn:?} to {host}:{port}"));
                self.open(node, conn, host, port, tls);
            }
            Output::Close { conn, how } => {
                self.note(node, format_args!("close {conn:?}: {how:?}"));
                self.close(node, running, conn, how);
            }
            Output::Take {
                conn,
                sink,
                offset,
                len,
            } => {
                self.note(node, format_args!("take {len} bytes of {conn:?}"));
                let state = self.live(node, conn);
                assert!(state.take.is_none(), "contract: {conn:?} takes already");
                state.take = Some(Take { sink, offset, len });
                self.take_on(node, running, conn);
            }
            Output::SendFile { conn, file, range } => {
                self.note(node, format_args!("send {range:?} of {file:?} to {conn:?}"));
                self.writable(node, conn)
                    .out
                    .push_back(Out::File(file, range));
                self.write_on(node, running, conn);
            }
            Output::Datagram { to, bytes } => {
                self.note(node, format_args!("datagram to {to}: {}", Brief(bytes)));
                assert!(!bytes.is_empty(), "contract: an empty datagram");
                self.send_datagram(node, to, bytes);
            }
            Output::Hash {
                ticket,
                file,
                range,
            } => self.push_job(node, ticket, Task::Hash { file, range }),
            Output::Store { ticket, op } => self.push_job(node, ticket, Task::of(&op)),
            Output::Event(()) => {}
            Output::Wait(_) => unreachable!("the end of a drain is no effect"),
            Output::BufferTooSmall { needed } => {
                panic!("contract: {needed} bytes are not enough of a buffer")
            }
        }
    }

    fn push_job(&mut self, node: NodeId, ticket: Ticket, task: Task) {
        self.note(node, format_args!("store {}: {}", ticket.0, task.name()));
        let state = &mut self.nodes[node.0];
        if let Some(last) = state.last_ticket.replace(ticket) {
            assert!(
                ticket.0 == last.0 + 1,
                "contract: {ticket:?} after {last:?}"
            );
        }
        state.jobs.push_back(Job { ticket, task });
        if state.jobs.len() == 1 {
            self.schedule_storage(node);
        }
    }

    fn write(&mut self, node: NodeId, running: &mut dyn Running, conn: ConnId, bytes: &[u8]) {
        assert!(!bytes.is_empty(), "contract: an empty write to {conn:?}");
        let state = self.writable(node, conn);
        let (link, side, over) = (state.link, state.side, state.state == State::Over);
        let busy = !state.out.is_empty();
        if over {
            return;
        }
        let written = if busy {
            0
        } else {
            self.write_link(link, side, bytes)
        };
        let what = format_args!("write {conn:?}: {}, {written} written", Brief(bytes));
        self.trace.note(self.now, &self.nodes[node.0].name, what);
        if written < bytes.len() {
            let state = self.live(node, conn);
            state.out.push_back(Out::Bytes(bytes[written..].to_vec()));
            state.blocked = true;
            running.tell(self.now, Input::Blocked { conn });
        }
    }

    /// Writes on what is kept, as far as there is room.
    pub(super) fn write_on(&mut self, node: NodeId, running: &mut dyn Running, conn: ConnId) {
        loop {
            let Some(state) = self.nodes[node.0].conn(conn) else {
                return;
            };
            if !matches!(state.state, State::Open | State::Finishing) {
                return;
            }
            let (link, side) = (state.link, state.side);
            let more = match state.out.pop_front() {
                Some(Out::Bytes(bytes)) => self.write_tail(node, conn, bytes),
                Some(Out::File(file, range)) if range.is_empty() => {
                    let _ = file;
                    true
                }
                Some(Out::File(file, range)) => {
                    let place = (link, side);
                    self.write_file(node, running, conn, place, (file, range))
                }
                None => {
                    self.written(node, running, conn);
                    false
                }
            };
            if !more {
                return;
            }
        }
    }

    fn write_tail(&mut self, node: NodeId, conn: ConnId, bytes: Vec<u8>) -> bool {
        let state = self.live(node, conn);
        let (link, side) = (state.link, state.side);
        let written = self.write_link(link, side, &bytes);
        let all = written == bytes.len();
        if !all {
            let tail = Out::Bytes(bytes[written..].to_vec());
            self.live(node, conn).out.push_front(tail);
        }
        all
    }

    fn write_file(
        &mut self,
        node: NodeId,
        running: &mut dyn Running,
        conn: ConnId,
        (link, side): (LinkId, Side),
        (file, range): (FileId, core::ops::Range<u64>),
    ) -> bool {
        let end = range.end.min(range.start + MOVE_BYTES_MAX as u64);
        let (from, to) = (range.start as usize, end as usize);
        let content = self.nodes[node.0].disk.content(file).ok();
        let Some(bytes) = content.and_then(|content| content.get(from..to)) else {
            self.end_side(link, side, CloseReason::Storage);
            self.send_reset(link, side.other());
            return false;
        };
        let bytes = bytes.to_vec();
        let moved = self.write_link(link, side, &bytes) as u64;
        let rest = range.start + moved..range.end;
        if !rest.is_empty() {
            self.live(node, conn).out.push_front(Out::File(file, rest));
        }
        if moved > 0 {
            self.note(
                node,
                format_args!("{moved} bytes of a file went to {conn:?}"),
            );
            running.tell(self.now, Input::Moved { conn, bytes: moved });
        }
        moved == bytes.len() as u64
    }

    /// Nothing is kept any more.
    fn written(&mut self, node: NodeId, running: &mut dyn Running, conn: ConnId) {
        let state = self.live(node, conn);
        let (link, side) = (state.link, state.side);
        if state.state == State::Finishing {
            if !core::mem::replace(&mut state.fin_sent, true) {
                self.write_fin(link, side);
            }
            self.finish_if_done(node, conn);
        } else if core::mem::replace(&mut state.blocked, false) {
            self.note(node, format_args!("{conn:?} is writable"));
            running.tell(self.now, Input::Writable { conn });
        }
    }

    /// Moves what comes to the file, until that is done.
    pub(super) fn take_on(&mut self, node: NodeId, running: &mut dyn Running, conn: ConnId) {
        let state = self.live(node, conn);
        let (link, side) = (state.link, state.side);
        let Some(Take { sink, offset, len }) = state.take else {
            return;
        };
        if state.state != State::Open {
            return;
        }
        let mut bytes = core::mem::take(&mut state.held);
        let moved = (bytes.len() as u64).min(len);
        state.held = bytes.split_off(moved as usize);
        state.take = (moved < len).then_some(Take {
            sink,
            offset: offset + moved,
            len: len - moved,
        });
        if self.nodes[node.0]
            .disk
            .write_at(sink, offset, &bytes)
            .is_err()
        {
            self.end_side(link, side, CloseReason::Storage);
            self.send_reset(link, side.other());
            return;
        }
        if moved > 0 {
            self.note(
                node,
                format_args!("{moved} bytes of {conn:?} went to a file"),
            );
            running.tell(self.now, Input::Moved { conn, bytes: moved });
        }
        self.offer(node, running, conn);
    }

    fn close(&mut self, node: NodeId, running: &mut dyn Running, conn: ConnId, how: Close) {
        let state = self.live(node, conn);
        let (link, side, before) = (state.link, state.side, state.state);
        match (how, before) {
            (_, State::Over) | (Close::Finish, State::Finishing) => {}
            (Close::Finish, State::Open) => {
                state.state = State::Finishing;
                self.read_off(node, conn);
                self.write_on(node, running, conn);
            }
            (Close::Abort, _) | (Close::Finish, State::Connecting) => {
                self.send_reset(link, side.other());
                self.end_side(link, side, CloseReason::Local);
            }
        }
    }

    /// What nobody will read any more makes room.
    fn read_off(&mut self, node: NodeId, conn: ConnId) {
        let state = self.live(node, conn);
        let (link, side) = (state.link, state.side);
        state.held.clear();
        state.take = None;
        if let Some(link) = self.links.get(link) {
            link.pipe_to(side).read(usize::MAX);
        }
        self.announce_room(link, side);
    }

    /// The connection of an effect, which the endpoint may still know.
    fn live(&mut self, node: NodeId, conn: ConnId) -> &mut Conn {
        let state = &mut self.nodes[node.0];
        let name = state.name.clone();
        state
            .conn(conn)
            .unwrap_or_else(|| panic!("contract: {name} names {conn:?}, which is gone"))
    }

    fn writable(&mut self, node: NodeId, conn: ConnId) -> &mut Conn {
        let state = self.live(node, conn);
        assert!(!state.blocked, "contract: a write to {conn:?}, blocked");
        assert!(
            matches!(state.state, State::Open | State::Over),
            "contract: a write to {conn:?}, which is {:?}",
            state.state
        );
        state
    }
}
