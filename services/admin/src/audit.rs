//! A line of the log for each attempt to change something, and how a line gets its fields.

use std::fmt::Debug;

use axum::http::Method;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};

use crate::Observation;

/// The event of a line about who asked for a change, allowed or not: for the log alone. Whoever may read a journal need not
/// know, and attempts that are refused would push out what has happened.
pub const ATTEMPT: &str = "admin";

/// A line for each attempt to change something, allowed or not.
pub fn audit(request: &Observation<'_>) {
    if !matches!(*request.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        tracing::info!(
            event = ATTEMPT,
            method = request.method.as_str(),
            path = request.path,
            remote = %request.remote,
            request_id = request.request_id,
            status = request.status,
            "a change was asked for"
        );
    }
}

/// Puts the fields of an event into a line of the log.
#[derive(Debug)]
pub struct Fields<'a>(pub &'a mut Map<String, Value>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().into(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().into(), value.into());
    }
}
