//! JSON as strangers send it: one meaning or none.
//!
//! In: the bytes of a token's header or claims. Out: an object in which every member is unique, at every depth. Refuses duplicate
//! members (two parsers would pick different ones: RFC 7515 section 4, RFC 7519 section 4), anything nested deeper than
//! [`DEPTH`], and anything after the object.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Deepest nesting accepted; Entra's deepest claim (`_claim_sources`) has three levels.
const DEPTH: u8 = 8;

/// The object, or `None` when the bytes are anything else.
pub(crate) fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { left: DEPTH }.deserialize(&mut json).ok()?;
    json.end().ok()?;
    match value {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

#[derive(Clone, Copy)]
struct Strict {
    left: u8,
}

impl Strict {
    fn inner<E: Error>(self) -> Result<Self, E> {
        let left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| E::custom("nested too deeply"))?;
        Ok(Self { left })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate members")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(inner)? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member occurs twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::object;

    #[test]
    fn an_object_with_unique_members_is_read() {
        let read = object(br#"{"a":1,"b":[true,null,"x"],"c":{"a":-2}}"#).unwrap();
        assert_eq!(read["b"][2], "x");
        assert_eq!(read["c"]["a"], -2);
    }

    #[test]
    fn a_member_that_occurs_twice_at_any_depth_is_refused() {
        for twice in [
            r#"{"iss":"a","iss":"a"}"#,
            r#"{"iss":"a","i\u0073s":"b"}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"b":2}]}"#,
        ] {
            assert_eq!(object(twice.as_bytes()), None, "{twice}");
        }
    }

    #[test]
    fn anything_but_one_object_is_refused() {
        for odd in [
            "",
            "null",
            "[]",
            "\"{}\"",
            "{}{}",
            "{} x",
            "{\"a\":1,}",
            "{\"a\":1e999}",
            "{\"a\":NaN}",
            "{'a':1}",
            "\u{feff}{}",
            "{\"a\":\"\\ud800\"}",
        ] {
            assert_eq!(object(odd.as_bytes()), None, "{odd}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), None);
    }

    #[test]
    fn deep_nesting_is_refused_before_it_costs_anything() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(7), "]".repeat(7));
        assert!(object(deep.as_bytes()).is_some());
        let deeper = format!("{{\"a\":{}{}}}", "[".repeat(8), "]".repeat(8));
        assert_eq!(object(deeper.as_bytes()), None);
    }
}
