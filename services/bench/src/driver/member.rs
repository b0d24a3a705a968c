//! One client of a crowd, and what happens to it.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::script::KINDS;
use super::socket::{self, Opened};
use super::{Crowd, Life, Run};
use crate::clock;

/// What says that a stream has ended, or ends behind what can be read.
const ENDS: epoll::EventFlags = epoll::EventFlags::RDHUP.union(epoll::EventFlags::HUP).union(epoll::EventFlags::ERR);

/// How far a client's socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    /// There is none.
    #[default]
    Closed,
    /// It is being connected.
    Connecting,
    /// It can be used.
    Connected,
    /// It takes nothing at present.
    Blocked,
}

/// Why a socket is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// It was closed, reset or refused, or cannot be trusted any more.
    Broken,
    /// The answer took longer than the client's patience.
    Silence,
}

/// Questions that were planned and written together.
#[derive(Debug, Clone, Copy)]
struct Asked {
    planned: u64,
    written: u64,
    count: usize,
}

/// One client.
#[derive(Debug, Default)]
pub(super) struct Member {
    pub socket: Option<OwnedFd>,
    pub phase: Phase,
    /// Changes with the socket: an event of an earlier socket means nothing.
    generation: u32,
    /// Questions on the way, oldest first.
    asked: VecDeque<Asked>,
    /// Questions that wait for the socket: when they were planned, and how many.
    waiting: VecDeque<(u64, usize)>,
    /// When the present phase began.
    since: u64,
    /// Number of the next question, and of the oldest that is on the way.
    next: u8,
    first: u8,
    /// Bytes of the oldest question's answer that are here.
    partial: usize,
    /// Answers on this connection.
    served: u32,
    /// Questions that may be asked once the rest is over, in this slot.
    pub owed: u32,
}

impl Member {
    /// Closes the socket, in order or by a reset. What was on the way is forgotten.
    pub fn close(&mut self, reset: bool) {
        if let Some(socket) = self.socket.take()
            && reset
        {
            socket::reset_on_close(&socket);
        }
        self.phase = Phase::Closed;
        self.generation = self.generation.wrapping_add(1);
        self.asked.clear();
        self.partial = 0;
        self.served = 0;
        self.first = self.next;
    }

    /// Forgets what was not written, and says how much that was.
    pub fn forget_waiting(&mut self) -> usize {
        self.waiting.drain(..).map(|(_, count)| count).sum()
    }

    /// How many questions are on the way.
    fn owed_answers(&self) -> usize {
        self.asked.iter().map(|asked| asked.count).sum()
    }

    /// Takes at most `limit` questions off the way that were written together, the oldest; none if there are none.
    fn take_asked(&mut self, limit: usize) -> Option<Asked> {
        let oldest = self.asked.front_mut().filter(|_| limit > 0)?;
        if oldest.count <= limit {
            return self.asked.pop_front();
        }
        oldest.count -= limit;
        Some(Asked { count: limit, ..*oldest })
    }

    /// Ends a conversation in which nothing is on the way.
    pub fn leave(&mut self, reset: bool) {
        if self.asked.is_empty() {
            self.close(reset);
        }
    }

    /// Gives up a socket with questions on the way, and says how many: their answers must not be heard in the next slot.
    pub fn abandon(&mut self) -> usize {
        let count = self.owed_answers();
        if count > 0 || self.phase == Phase::Blocked {
            self.close(false);
        }
        count
    }

    /// Since when it has waited for somebody else; none if nobody keeps it waiting.
    pub fn waits_since(&self) -> Option<u64> {
        match self.phase {
            Phase::Closed => None,
            Phase::Connecting | Phase::Blocked => Some(self.since),
            Phase::Connected => self.asked.front().map(|asked| asked.written),
        }
    }
}

impl Crowd {
    /// Lets a client ask `count` questions that were planned at `planned`.
    pub(super) fn give(&mut self, index: u32, count: usize, planned: u64, run: &mut Run) {
        run.slot.planned += count as u64;
        let member = &mut self.members[index as usize];
        member.waiting.push_back((planned, count));
        match member.phase {
            Phase::Closed => self.open(index, run),
            Phase::Connected => self.flush(index, run),
            Phase::Connecting | Phase::Blocked => {}
        }
    }

    pub(super) fn open(&mut self, index: u32, run: &mut Run) {
        let opened = self.place.open();
        let member = &mut self.members[index as usize];
        let (socket, phase, flags) = match opened {
            Ok(Opened::Ready(socket)) => (socket, Phase::Connected, self.hearing),
            Ok(Opened::Connecting(socket)) => (socket, Phase::Connecting, self.hearing | epoll::EventFlags::OUT),
            Ok(Opened::Later) => return self.resting.push(index),
            Err(_) => {
                run.slot.connect_errors += 1;
                return self.fail(index, Failure::Broken, run);
            }
        };
        let data = epoll::EventData::new_u64(u64::from(member.generation) << 32 | u64::from(index));
        if epoll::add(&self.epoll, &socket, data, flags).is_err() {
            run.slot.connect_errors += 1;
            return self.fail(index, Failure::Broken, run);
        }
        member.socket = Some(socket);
        member.phase = phase;
        member.since = clock::now();
        if phase == Phase::Connected {
            run.slot.connects += 1;
            self.flush(index, run);
        }
    }

    /// Writes all that waits, at once.
    fn flush(&mut self, index: u32, run: &mut Run) {
        let member = &mut self.members[index as usize];
        let Some(socket) = member.socket.as_ref() else { return };
        let count = member.waiting.iter().map(|&(_, count)| count).sum();
        if count == 0 {
            return;
        }
        let text = self.script.questions(member.next as usize, count);
        // Before the write: a client that loses the CPU right after it must not make the server look faster.
        let now = clock::now();
        match send(socket, text, SendFlags::NOSIGNAL) {
            Ok(written) if written == text.len() => {
                let is_open_loop = run.schedule.is_some();
                for (planned, count) in member.waiting.drain(..) {
                    member.asked.push_back(Asked { planned, written: now, count });
                    if is_open_loop {
                        run.slot.lag.saturating_record_n(now.saturating_sub(planned).max(1), count as u64);
                    }
                }
                member.next = ((member.next as usize + count) % KINDS) as u8;
                run.slot.sent += count as u64;
                self.outstanding += count;
            }
            Err(Errno::AGAIN) => {
                member.phase = Phase::Blocked;
                member.since = clock::now();
                self.watch(index, self.hearing | epoll::EventFlags::OUT);
            }
            // A part of a few questions is never refused by a stream that took the others.
            _ => self.fail(index, Failure::Broken, run),
        }
    }

    fn watch(&self, index: u32, flags: epoll::EventFlags) {
        let member = &self.members[index as usize];
        let data = epoll::EventData::new_u64(u64::from(member.generation) << 32 | u64::from(index));
        if let Some(socket) = &member.socket {
            // The socket is in the set; should that fail all the same, the client's patience ends it.
            let _ = epoll::modify(&self.epoll, socket, data, flags);
        }
    }

    /// An event of the set.
    pub(super) fn happened(&mut self, data: u64, flags: epoll::EventFlags, run: &mut Run) {
        let index = data as u32;
        let Some(member) = self.members.get_mut(index as usize) else { return };
        let Some(socket) = member.socket.as_ref() else { return };
        if member.generation != (data >> 32) as u32 {
            return;
        }
        if matches!(member.phase, Phase::Connecting | Phase::Blocked) {
            if member.phase == Phase::Connecting {
                if !socket::connected(socket) {
                    run.slot.connect_errors += 1;
                    return self.fail(index, Failure::Broken, run);
                }
                run.slot.connects += 1;
            }
            member.phase = Phase::Connected;
            self.watch(index, self.hearing);
            self.flush(index, run);
        }
        let is_over = flags.intersects(ENDS);
        if is_over || flags.contains(epoll::EventFlags::IN) {
            self.read_all(index, is_over, run);
        }
    }

    /// Reads what is there. A stream's event comes once, so nothing may be left: neither bytes beyond a full buffer nor an end
    /// that is known to follow.
    fn read_all(&mut self, index: u32, is_over: bool, run: &mut Run) {
        while self.read(index, run).is_some_and(|count| is_over || count == self.buffer.len()) {}
    }

    /// One recv(2); how many bytes of a stream it gave, none if that was all.
    fn read(&mut self, index: u32, run: &mut Run) -> Option<usize> {
        let socket = self.members[index as usize].socket.as_ref()?;
        let is_stream = self.place.transport.is_stream();
        match recv(socket, &mut self.buffer[..], RecvFlags::empty()) {
            Ok((0, _)) if is_stream => self.fail(index, Failure::Broken, run),
            Ok((count, _)) if is_stream => {
                self.heard(index, count, run);
                return Some(count);
            }
            Ok((count, _)) => self.received(index, count, run),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.fail(index, Failure::Broken, run),
        }
        None
    }

    /// Bytes of a stream.
    fn heard(&mut self, index: u32, count: usize, run: &mut Run) {
        let member = &mut self.members[index as usize];
        let owed = member.owed_answers();
        let heard = self.script.hear(member.first as usize, member.partial, owed, &self.buffer[..count]);
        member.partial = heard.partial;
        self.answered(index, heard.whole, run);
        if !heard.is_wrong && !heard.has_surplus {
            return self.go_on(index, heard.whole, run);
        }
        self.members[index as usize].owed += heard.whole as u32;
        if heard.is_wrong {
            self.count_wrong(index, run);
        } else {
            run.slot.surplus += 1;
        }
        // What comes after it cannot be told apart any more.
        self.fail(index, Failure::Broken, run);
    }

    /// One datagram.
    fn received(&mut self, index: u32, count: usize, run: &mut Run) {
        let member = &mut self.members[index as usize];
        let first = member.first as usize;
        let text = &self.buffer[..count];
        if !member.asked.is_empty() && text == self.script.answer(first) {
            self.answered(index, 1, run);
            self.go_on(index, 1, run);
        } else if text == self.script.answer((first + KINDS - 1) % KINDS) {
            run.slot.duplicates += 1;
        } else if member.asked.is_empty() {
            run.slot.surplus += 1;
        } else {
            self.count_wrong(index, run);
            self.fail(index, Failure::Broken, run);
        }
    }

    fn count_wrong(&mut self, index: u32, run: &mut Run) {
        let member = &mut self.members[index as usize];
        member.take_asked(1);
        member.owed += 1;
        self.outstanding -= 1;
        run.slot.wrong += 1;
    }

    /// Books `count` right answers to the oldest questions.
    fn answered(&mut self, index: u32, count: usize, run: &mut Run) {
        // A stamp before the read is nearer to the arrival; with several questions on the way some may have come after it.
        let done = if self.options.depth == 1 { run.stamp } else { clock::now() };
        let member = &mut self.members[index as usize];
        let is_open_loop = run.schedule.is_some();
        let mut left = count;
        while let Some(asked) = member.take_asked(left) {
            left -= asked.count;
            run.slot.service.saturating_record_n(done.saturating_sub(asked.written).max(1), asked.count as u64);
            if is_open_loop {
                run.slot.response.saturating_record_n(done.saturating_sub(asked.planned).max(1), asked.count as u64);
            }
        }
        member.first = ((member.first as usize + count) % KINDS) as u8;
        member.served += count as u32;
        self.outstanding -= count;
        run.slot.ok += count as u64;
        if done <= run.end {
            run.slot.in_time += count as u64;
        }
    }

    /// After `count` answers: ends the conversation if it is over, and lets the client ask again.
    fn go_on(&mut self, index: u32, count: usize, run: &mut Run) {
        if let Life::Conversations { questions, reset } = self.options.life {
            let member = &mut self.members[index as usize];
            // Whoever will ask nothing more leaves: others may be waiting for the place.
            if member.served >= questions || !run.is_sending {
                member.close(reset);
            }
        }
        self.release(index, count, run);
    }

    /// Lets a client ask `count` more questions: now in a closed loop, when they are due in an open one.
    fn release(&mut self, index: u32, count: usize, run: &mut Run) {
        if !run.is_sending || count == 0 {
            return;
        }
        if run.schedule.is_some() {
            self.free.extend(std::iter::repeat_n(index, count));
        } else {
            self.again.push((index, count));
        }
    }

    /// Gives a socket up; the client rests until the next sweep.
    pub(super) fn fail(&mut self, index: u32, failure: Failure, run: &mut Run) {
        let is_stream = self.place.transport.is_stream();
        let member = &mut self.members[index as usize];
        let asked = member.owed_answers();
        let waiting = if run.is_sending { member.forget_waiting() } else { 0 };
        member.owed += (asked + waiting) as u32;
        member.close(false);
        self.outstanding -= asked;
        run.slot.sent += waiting as u64;
        let count = match failure {
            Failure::Broken => &mut run.slot.error,
            Failure::Silence if is_stream => &mut run.slot.timeout,
            Failure::Silence => &mut run.slot.lost,
        };
        *count += (asked + waiting) as u64;
        if run.is_sending {
            self.resting.push(index);
        }
    }

    /// Ends the rest of a client.
    pub(super) fn wake(&mut self, index: u32, run: &mut Run) {
        let member = &mut self.members[index as usize];
        let owed = std::mem::take(&mut member.owed) as usize;
        if !member.waiting.is_empty() && member.phase == Phase::Closed {
            self.open(index, run);
        }
        self.release(index, owed, run);
    }
}
