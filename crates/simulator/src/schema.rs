//! Does a body match a trigger's schema, and in which words does the service say that it does not?
//!
//! Knows `type`, `required`, `properties`, `items`, `enum` and `additionalProperties: false`; every other keyword is satisfied. The
//! phrases are those of facts A3. It shares nothing with the gateway's own validation, which it checks.

use serde_json::Value;

/// What is wrong with `value`, in the service's words; nothing if it fits.
pub(crate) fn mismatches(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, value, &mut found);
    found
}

fn check(schema: &Value, value: &Value, found: &mut Vec<String>) {
    let allowed: Vec<&str> = match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !allowed.is_empty() && !allowed.iter().any(|name| is(name, value)) {
        let expected: Vec<String> = allowed.iter().map(|name| capital(name)).collect();
        found.push(format!(
            "Invalid type. Expected {} but got {}.",
            expected.join(", "),
            capital(kind(value))
        ));
        return;
    }
    if let Some(Value::Array(choices)) = schema.get("enum")
        && !choices.contains(value)
    {
        found.push(format!("Value {value} is not defined in enum."));
    }
    if let (Some(Value::Array(required)), Value::Object(members)) = (schema.get("required"), value)
    {
        let missing: Vec<&str> = required
            .iter()
            .filter_map(Value::as_str)
            .filter(|name| !members.contains_key(*name))
            .collect();
        if !missing.is_empty() {
            found.push(format!(
                "Required properties are missing from object: {}.",
                missing.join(", ")
            ));
        }
    }
    if let Value::Object(members) = value {
        let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
        for (name, member) in members {
            match schema.get("properties").and_then(|all| all.get(name)) {
                Some(inner) => check(inner, member, found),
                None if closed => found.push(format!(
                    "Property '{name}' has not been defined and the schema does not allow additional properties."
                )),
                None => {}
            }
        }
    }
    if let (Some(inner), Value::Array(items)) = (schema.get("items"), value) {
        for item in items {
            check(inner, item, found);
        }
    }
}

fn is(name: &str, value: &Value) -> bool {
    kind(value) == name || (name == "number" && kind(value) == "integer")
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_ascii_uppercase().to_string() + letters.as_str()
    })
}
