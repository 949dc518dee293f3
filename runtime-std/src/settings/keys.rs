//! Which keys a struct of settings has, learnt from its `Deserialize`.

use serde::de::value::{Error, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::{ENVIRONMENT_PREFIX, Settings};

/// The keys of a struct, as `key` or `section.key`.
#[derive(Debug, Default)]
pub(super) struct Keys {
    keys: Vec<String>,
}

impl Keys {
    pub(super) fn of<T: Settings>() -> Self {
        let mut fields = Vec::new();
        probe::<T>(&mut fields, None);
        let mut keys = Vec::new();
        for field in fields {
            let mut below = Vec::new();
            probe::<T>(&mut below, Some(field));
            if below.is_empty() {
                keys.push(field.to_owned());
            }
            keys.extend(below.iter().map(|key| format!("{field}.{key}")));
        }
        Self { keys }
    }

    /// The key that the variable `TAUTLINE_<stem>` sets.
    pub(super) fn of_variable(&self, stem: &str) -> Option<&str> {
        let mut keys = self.keys.iter();
        keys.find(|key| stem_of(key) == stem).map(String::as_str)
    }

    /// The section whose name the variable `TAUTLINE_<stem>` begins with.
    pub(super) fn section_of_variable(&self, stem: &str) -> Option<&str> {
        let sections = self.keys.iter().filter_map(|key| key.split_once('.'));
        sections.map(|(section, _)| section).find(|section| {
            stem.strip_prefix(&stem_of(section))
                .is_some_and(|rest| rest.starts_with('_'))
        })
    }

    pub(super) fn variables_of(&self, section: &str) -> Vec<String> {
        let keys = self
            .keys
            .iter()
            .filter(|key| key.split_once('.').is_some_and(|(name, _)| name == section));
        keys.map(|key| format!("{ENVIRONMENT_PREFIX}{}", stem_of(key)))
            .collect()
    }
}

fn stem_of(key: &str) -> String {
    key.replace('.', "_").to_ascii_uppercase()
}

/// Deserializes `T` from nothing, to see which fields it asks for: of `T`
/// itself, or of its field `below`.
fn probe<T: Settings>(fields: &mut Vec<&'static str>, below: Option<&'static str>) {
    // It always fails; what it asked for until then is what counts.
    let _ = T::deserialize(Probe { fields, below });
}

struct Probe<'a> {
    fields: &'a mut Vec<&'static str>,
    below: Option<&'static str>,
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.below {
            Some(_) => visitor.visit_map(self),
            None => {
                self.fields.extend_from_slice(fields);
                Err(Error::custom("seen"))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("a value"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string
        bytes byte_buf unit unit_struct seq tuple tuple_struct map enum
        identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Probe<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let field: Option<StrDeserializer<'_, Error>> =
            self.below.take().map(IntoDeserializer::into_deserializer);
        field.map(|field| seed.deserialize(field)).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(Probe {
            fields: &mut *self.fields,
            below: None,
        })
    }
}
