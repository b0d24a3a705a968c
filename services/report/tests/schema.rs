//! The published schema and the reader say the same.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::collections::BTreeSet;

use report::Report;
use serde_json::{Value, json};

const SCHEMA: &str = include_str!("../schema.json");
const SAMPLE: &str = include_str!("sample.json");

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

fn sample() -> Value {
    serde_json::from_str(SAMPLE).unwrap()
}

/// Why a value is not as its schema says; members of objects that were met are noted.
struct Validator<'all> {
    root: &'all Value,
    met: BTreeSet<String>,
}

impl<'all> Validator<'all> {
    fn new(root: &'all Value) -> Self {
        Self { root, met: BTreeSet::new() }
    }

    fn check(&mut self, schema: &'all Value, value: &Value, path: &str) -> Result<(), String> {
        if let Some(reference) = schema["$ref"].as_str() {
            return self.check(self.resolve(reference), value, path);
        }
        if let Some(any) = schema["anyOf"].as_array() {
            let all: Vec<_> = any.iter().map(|one| self.check(one, value, path)).collect();
            return if all.iter().any(Result::is_ok) { Ok(()) } else { all.into_iter().next().unwrap() };
        }
        if let Some(only) = schema.get("const").filter(|only| *only != value) {
            return Err(format!("{path} is {value} and not {only}"));
        }
        if schema["enum"].as_array().is_some_and(|all| !all.contains(value)) {
            return Err(format!("{path} is {value}"));
        }
        if let Some(types) = schema.get("type") {
            let types = types.as_array().cloned().unwrap_or_else(|| vec![types.clone()]);
            if !types.iter().any(|one| is(value, one.as_str().unwrap())) {
                return Err(format!("{path} is {value} and not {types:?}"));
            }
        }
        match value {
            Value::Object(members) => self.check_members(schema, members, path),
            Value::Array(items) => self.check_items(schema, items, path),
            _ => Ok(()),
        }
    }

    fn check_members(
        &mut self,
        schema: &'all Value,
        members: &serde_json::Map<String, Value>,
        path: &str,
    ) -> Result<(), String> {
        for name in schema["required"].as_array().into_iter().flatten() {
            if !members.contains_key(name.as_str().unwrap()) {
                return Err(format!("{path} lacks {name}"));
            }
        }
        for (name, value) in members {
            let own = schema["properties"].get(name).ok_or_else(|| format!("{path} has a strange {name}"))?;
            self.met.insert(own["description"].as_str().unwrap().to_owned());
            self.check(own, value, &format!("{path}/{name}"))?;
        }
        Ok(())
    }

    fn check_items(&mut self, schema: &'all Value, items: &[Value], path: &str) -> Result<(), String> {
        for (at, item) in items.iter().enumerate() {
            let path = format!("{path}/{at}");
            match schema["prefixItems"].as_array() {
                Some(own) => self.check(own.get(at).ok_or_else(|| format!("{path} is too much"))?, item, &path)?,
                None => self.check(&schema["items"], item, &path)?,
            }
        }
        if schema["minItems"].as_u64().is_some_and(|least| (items.len() as u64) < least) {
            return Err(format!("{path} is too short"));
        }
        Ok(())
    }

    fn resolve(&self, reference: &str) -> &'all Value {
        self.root.pointer(reference.strip_prefix('#').unwrap()).unwrap()
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("schema.json has a type {other}, which this test does not know"),
    }
}

fn by_schema(value: &Value) -> Result<(), String> {
    let schema = schema();
    Validator::new(&schema).check(&schema, value, "")
}

fn by_reader(value: &Value) -> Result<Report, String> {
    Report::from_json(&value.to_string()).map_err(|error| error.to_string())
}

#[test]
fn what_is_written_is_as_the_schema_says_and_has_every_member() {
    let report = by_reader(&sample()).unwrap();
    let written: Value = serde_json::from_str(&report.to_json().unwrap()).unwrap();
    let schema = schema();
    let mut validator = Validator::new(&schema);
    validator.check(&schema, &written, "").unwrap();
    let objects = std::iter::once(&schema).chain(schema["$defs"].as_object().unwrap().values());
    for (name, member) in objects.flat_map(|object| object["properties"].as_object().into_iter().flatten()) {
        let description = member["description"].as_str().unwrap();
        assert!(validator.met.contains(description), "nothing that is written has {name}: {description}");
    }
    assert_eq!(by_reader(&written).unwrap(), report, "what is written is read as it was");
}

/// Every value in a document, by its path.
fn places(value: &Value, path: &str, all: &mut Vec<String>) {
    all.push(path.to_owned());
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| places(value, &format!("{path}/{name}"), all));
        }
        // The others are of the same kind.
        Value::Array(items) => {
            items.iter().take(3).enumerate().for_each(|(at, value)| places(value, &format!("{path}/{at}"), all));
        }
        _ => {}
    }
}

/// A smaller document with every kind of member, since each change reads all of it anew.
fn small() -> Value {
    let mut small = sample();
    small["tables"][0]["rows"].as_array_mut().unwrap().truncate(2);
    let charts = small["charts"].as_array_mut().unwrap();
    charts.retain(|chart| ["cpu_parts", "heat"].contains(&chart["id"].as_str().unwrap()));
    charts[1]["series"][0]["points"].as_array_mut().unwrap().truncate(2);
    small
}

#[test]
fn schema_and_reader_refuse_the_same() {
    let small = small();
    by_reader(&small).unwrap();
    let mut paths = Vec::new();
    places(&small, "", &mut paths);
    assert!(paths.len() > 200, "{}", paths.len());
    for path in paths {
        let mut changed = vec![small.clone(), small.clone()];
        *changed[0].pointer_mut(&path).unwrap() = json!({"strange": true});
        if let Some(object) = changed[1].pointer_mut(&path).unwrap().as_object_mut() {
            object.insert("strange".to_owned(), json!(1));
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or_default();
        for replacement in [None, Some(Value::Null)] {
            let mut without = small.clone();
            if let Some(object) =
                without.pointer_mut(parent).and_then(Value::as_object_mut).filter(|_| !name.is_empty())
            {
                object.remove(name);
                object.extend(replacement.map(|value| (name.to_owned(), value)));
                changed.push(without);
            }
        }
        for document in changed {
            let (schema, reader) = (by_schema(&document), by_reader(&document));
            // Rules beyond the form, such as that bars need names, are the reader's alone.
            let is_form = reader.as_ref().is_err_and(|error| error.contains("is no report"));
            assert!(schema.is_err() || !is_form, "{path}: the schema allows it, the reader says {reader:?}");
            assert!(schema.is_ok() || reader.is_err(), "{path}: the reader allows it, the schema says {schema:?}");
        }
    }
}

#[test]
fn what_is_wrong_is_said_in_a_sentence() {
    let change = |path: &str, value: Value| {
        let mut document = sample();
        *document.pointer_mut(path).unwrap() = value;
        by_reader(&document).unwrap_err()
    };
    let cases = [
        ("/schema", json!(2), "this report has schema 2; this version of zenlab reads schema 1"),
        ("/schema", json!("1"), "this is no report: it lacks \"schema\": 1"),
        ("/run/began", json!("noon"), "run.began is \"noon\""),
        ("/tables/0/id", json!("../etc"), "the id of a table is \"../etc\""),
        ("/charts/1/id", json!("cpu"), "two charts have the id \"cpu\""),
        ("/tables/0/rows/0/cells", json!([]), "table \"summary\" has 6 columns, but its row \"io_uring\" has 0 cells"),
        ("/charts/0/series/0/points/0/x", json!(99), "chart \"cpu\", series \"CPU\": x is 99"),
        ("/charts/0/series/0/points/0/interval/low", json!(1e9), "an interval begins at"),
        ("/charts/0/y/unit", json!("hogsheads a fortnight"), "at most 12 letters can be shown"),
        ("/tables/0/columns/0/unit", json!("hogsheads a fortnight"), "table \"summary\" has the unit"),
        ("/charts/0/x/names", json!([]), "bars need x.names"),
        ("/charts/4/series/0/points/0/x", json!(1.5), "1.5 is no quantile"),
        ("/validity/verdict", json!("fine"), "unknown variant `fine`"),
    ];
    for (path, value, sentence) in cases {
        let error = change(path, value);
        assert!(error.contains(sentence), "{path}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let error = Report::from_json("{").unwrap_err().to_string();
    assert!(error.starts_with("this is not JSON: "), "{error}");
    let mut strange = sample();
    strange["run"]["colour"] = json!("blue");
    assert!(by_reader(&strange).unwrap_err().contains("unknown field `colour`"));
}
