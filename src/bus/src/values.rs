//! Values of options as they come off the bus.
//!
//! A variant may hold anything. Read as whatever it is, each byte of an array becomes seventy, and each mention of a descriptor
//! a descriptor more. So a value is read by the type that it says it has, if options have that type; what has another is
//! passed over and kept nowhere. Absent on purpose: which option has which type ([`crate::options`]).

use std::fmt;
use std::os::fd::OwnedFd;

use backstep_core::limits::MAX_LOCAL_ARCHIVES;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use zbus::wire::Signature;
use zbus::{Fd, Type};

use crate::options::PackageArgument;

/// The value has not the type that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the wrong type")]
pub struct WrongType;

macro_rules! option_values {
    ($($(#[$meta:meta])* $variant:ident($type:ty),)+) => {
        /// A value of one of the types that options have.
        #[derive(Debug)]
        pub enum OptionValue {
            $($(#[$meta])* $variant($type),)+
            /// Of a type that no option has.
            Other,
        }

        $(impl TryFrom<OptionValue> for $type {
            type Error = WrongType;

            fn try_from(value: OptionValue) -> Result<Self, WrongType> {
                if let OptionValue::$variant(value) = value { Ok(value) } else { Err(WrongType) }
            }
        })+

        fn read<'de, S: SeqAccess<'de>>(signature: &Signature, mut sent: S) -> Result<OptionValue, S::Error> {
            $(if signature == <$type>::SIGNATURE {
                return Ok(OptionValue::$variant(next(&mut sent)?));
            })+
            next::<IgnoredAny, S>(&mut sent)?;
            Ok(OptionValue::Other)
        }
    };
}

option_values! {
    /// `s`.
    Text(String),
    /// `as`.
    Texts(Vec<String>),
    /// `b`.
    Flag(bool),
    /// `u`.
    Number(u32),
    /// `i`.
    Signed(i32),
    /// `a(sss)`.
    Packages(Vec<PackageArgument>),
    /// `ah`.
    Descriptors(Descriptors),
}

impl Type for OptionValue {
    const SIGNATURE: &'static Signature = &Signature::Variant;
}

impl<'de> Deserialize<'de> for OptionValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfVariant)
    }
}

struct OfVariant;

impl<'de> Visitor<'de> for OfVariant {
    type Value = OptionValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a variant")
    }

    /// A variant is its signature, then its value.
    fn visit_seq<S: SeqAccess<'de>>(self, mut sent: S) -> Result<OptionValue, S::Error> {
        let signature: Signature = next(&mut sent)?;
        read(&signature, sent)
    }
}

fn next<'de, T: Deserialize<'de>, S: SeqAccess<'de>>(sent: &mut S) -> Result<T, S::Error> {
    sent.next_element()?.ok_or_else(|| S::Error::custom("a variant without a value"))
}

/// Descriptors, of which one more is kept than a request may have, however many are named.
#[derive(Debug)]
pub struct Descriptors(pub Vec<OwnedFd>);

impl Type for Descriptors {
    const SIGNATURE: &'static Signature = <Vec<Fd<'static>> as Type>::SIGNATURE;
}

impl<'de> Deserialize<'de> for Descriptors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(OfDescriptors)
    }
}

struct OfDescriptors;

impl<'de> Visitor<'de> for OfDescriptors {
    type Value = Descriptors;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("descriptors")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut sent: S) -> Result<Descriptors, S::Error> {
        let mut kept = Vec::new();
        while let Some(fd) = sent.next_element::<Fd<'de>>()? {
            if kept.len() <= MAX_LOCAL_ARCHIVES {
                kept.push(OwnedFd::try_from(fd).map_err(S::Error::custom)?);
            }
        }
        Ok(Descriptors(kept))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashMap;

    use serde::Serialize;
    use zbus::Variant;
    use zbus::wire::serialized::{Context, Data};
    use zbus::wire::{LE, to_bytes};

    use super::*;

    /// What arrives of a value.
    pub(crate) fn arrived<V: Serialize + Type, T: for<'de> Deserialize<'de> + Type>(value: &V) -> T {
        to_bytes(Context::new(LE, 0), value).expect("encode").deserialize().expect("decode").0
    }

    fn sent(value: Variant<'_>) -> OptionValue {
        arrived(&value)
    }

    #[test]
    fn a_value_is_read_by_the_type_that_it_says_it_has() {
        assert!(matches!(sent("x".into()), OptionValue::Text(text) if text == "x"));
        assert!(matches!(sent(vec!["x", "y"].into()), OptionValue::Texts(texts) if texts == ["x", "y"]));
        assert!(matches!(sent(true.into()), OptionValue::Flag(true)));
        assert!(matches!(sent(7_u32.into()), OptionValue::Number(7)));
        assert!(matches!(sent((-7_i32).into()), OptionValue::Signed(-7)));
        let row: PackageArgument = ("install".into(), "hello".into(), String::new());
        assert!(matches!(sent(vec![row.clone()].into()), OptionValue::Packages(rows) if rows == [row]));
        assert_eq!(String::try_from(sent(true.into())), Err(WrongType));
    }

    #[test]
    fn what_no_option_has_the_type_of_is_passed_over() {
        let many = HashMap::from([
            ("bytes", Variant::from(vec![0_u8; 1000])),
            ("inner", Variant::Variant(Box::new(Variant::from(vec!["x"])))),
            ("map", Variant::from(HashMap::from([("a", 1_i64)]))),
            ("text", Variant::from("after the others, too")),
            ("u8", Variant::from(1_u8)),
        ]);
        for _ in 0..20 {
            // Each time in another order.
            let many: HashMap<_, _> = many.iter().map(|(key, value)| (*key, value.try_clone().expect("clone"))).collect();
            let read: HashMap<String, OptionValue> = arrived(&many);
            assert_eq!(read.len(), 5);
            for (key, value) in read {
                assert_eq!(matches!(value, OptionValue::Other), key != "text", "{key}: {value:?}");
            }
        }
    }

    #[test]
    fn one_descriptor_that_is_named_ten_thousand_times_is_no_ten_thousand_descriptors() {
        let context = Context::new(LE, 0);
        let mut bytes = to_bytes(context, &Variant::from(vec![0_u32; 10_000])).expect("encode").to_vec();
        let at = bytes.windows(4).position(|part| part == b"\x02au\0").expect("a signature");
        bytes[at + 2] = b'h';
        let file = std::fs::File::open("/dev/null").expect("open");
        let data = Data::new_fds(bytes, context, [OwnedFd::from(file)]);
        let OptionValue::Descriptors(kept) = data.deserialize().expect("decode").0 else { panic!("no descriptors") };
        assert_eq!(kept.0.len(), MAX_LOCAL_ARCHIVES + 1);
    }
}
