//! The beginning of a message: how long it will be, and who sent it.
//!
//! Absent on purpose: bodies.

use std::num::NonZeroU32;

use backstep_core::Failure;
use zbus::wire::serialized::{Context, Data};
use zbus::wire::{BE, LE};
use zbus::{Message, Variant};

/// Bytes that say how long the rest is.
pub(super) const PRIMARY: usize = 16;

/// A call that was not taken off the bus.
#[derive(Debug)]
pub struct TurnedAway {
    /// The call without its arguments.
    pub call: Message,
    /// Why.
    pub failure: Failure,
    /// Whether the caller waits for an answer.
    pub wants_reply: bool,
}

/// What the first bytes of a message say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Primary {
    is_little: bool,
    sort: u8,
    flags: u8,
    /// Bytes of the arguments.
    pub(super) body: usize,
    serial: u32,
    /// Bytes of the header's fields, without the padding after them.
    pub(super) fields: usize,
}

impl Primary {
    /// `None` when these bytes begin no message; the library says so when it gets them.
    pub(super) fn of(bytes: [u8; PRIMARY]) -> Option<Self> {
        let is_little = match bytes[0] {
            b'l' => true,
            b'B' => false,
            _ => return None,
        };
        let number = |at: usize| {
            let bytes = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
            if is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }
        };
        let length = |at| usize::try_from(number(at)).ok();
        Some(Self { is_little, sort: bytes[1], flags: bytes[2], body: length(4)?, serial: number(8), fields: length(12)? })
    }

    /// Bytes of the whole message.
    pub(super) fn total(&self) -> usize {
        (PRIMARY.saturating_add(self.fields)).next_multiple_of(8).saturating_add(self.body)
    }

    /// Whether it is a call.
    pub(super) const fn is_call(&self) -> bool {
        self.sort == 1
    }

    /// Whether it is a signal.
    pub(super) const fn is_signal(&self) -> bool {
        self.sort == 4
    }

    /// What a call's header says of it. `None` is a call without a sender, or no header.
    pub(super) fn call(&self, header: &[u8]) -> Option<Call> {
        let endian = if self.is_little { LE } else { BE };
        let data = Data::new(header, Context::new(endian, 0));
        let (read, _): (Header<'_>, usize) = data.deserialize().ok()?;
        let mut call = Call { primary: *self, path: None, interface: None, member: None, sender: String::new() };
        for (code, value) in read.6 {
            match (code, value) {
                (1, Variant::ObjectPath(path)) => call.path = Some(path.as_str().to_owned()),
                (2, Variant::Str(text)) => call.interface = Some(text.as_str().to_owned()),
                (3, Variant::Str(text)) => call.member = Some(text.as_str().to_owned()),
                (7, Variant::Str(text)) => call.sender = text.as_str().to_owned(),
                _ => {}
            }
        }
        (!call.sender.is_empty()).then_some(call)
    }
}

/// What a call's header says of it.
#[derive(Debug)]
pub(super) struct Call {
    primary: Primary,
    path: Option<String>,
    interface: Option<String>,
    member: Option<String>,
    /// The unique name of who sent it, as the bus says.
    pub(super) sender: String,
}

impl Call {
    /// What is to be told when it is not taken. `None` is one that nobody could answer.
    pub(super) fn turned_away(self, failure: Failure) -> Option<TurnedAway> {
        let Self { primary, path, interface, member, sender } = self;
        let mut call = Message::method_call(path?, member?).serial(NonZeroU32::new(primary.serial)?).sender(sender);
        if let Some(interface) = interface {
            call = call.interface(interface);
        }
        Some(TurnedAway { call: call.build(&()).ok()?, failure, wants_reply: primary.flags & 1 == 0 })
    }
}

/// Endianness, sort, flags, version, length, serial, fields.
type Header<'a> = (u8, u8, u8, u8, u32, u32, Vec<(u8, Variant<'a>)>);

#[cfg(test)]
mod tests {
    use backstep_core::ErrorCode;

    use super::*;

    fn call() -> Message {
        let call = Message::method_call("/org/backstep1", "Submit").interface("org.backstep1.Manager").sender(":1.7");
        call.build(&("install", "x".repeat(1000))).expect("a call")
    }

    fn primary(message: &Message) -> Primary {
        Primary::of(message.data()[..PRIMARY].try_into().expect("16 bytes")).expect("a message")
    }

    #[test]
    fn the_length_is_that_of_the_whole_message() {
        let reply = Message::method_return(&call().header()).build(&(1_u8,)).expect("a reply");
        for message in [call(), reply] {
            assert_eq!(primary(&message).total(), message.data().len());
        }
        assert!(primary(&call()).is_call() && !primary(&call()).is_signal());
    }

    #[test]
    fn what_is_told_of_a_call_is_enough_to_answer_it() {
        let (call, primary) = (call(), primary(&call()));
        let header = &call.data()[..PRIMARY + primary.fields];
        let failure = Failure::new(ErrorCode::RequestTooLarge, "too large");
        let told = primary.call(header).and_then(|call| call.turned_away(failure)).expect("a call");
        let (header, was) = (told.call.header(), call.header());
        assert_eq!((header.member(), header.interface(), header.path()), (was.member(), was.interface(), was.path()));
        assert_eq!(header.sender().map(|name| name.as_str()), Some(":1.7"));
        assert_eq!(header.primary().body_len(), 0);
        assert!(told.wants_reply && primary.body > 1000);
    }

    #[test]
    fn what_is_no_message_and_what_has_no_sender_is_told_to_nobody() {
        assert_eq!(Primary::of([0; PRIMARY]), None);
        let call = Message::method_call("/", "Submit").build(&()).expect("a call");
        let primary = primary(&call);
        assert!(primary.call(call.data()).is_none());
        assert!(primary.call(&[b'l'; 40]).is_none());
    }

    #[test]
    fn lengths_beyond_everything_do_not_wrap() {
        let mut bytes = [0xff; PRIMARY];
        bytes[0] = b'l';
        assert!(Primary::of(bytes).is_some_and(|primary| primary.total() >= 1 << 33));
    }
}
