// The filters of a list: a form whose answers stand in the page's address, so that a search can be sent to a colleague.

import { type FormEvent, useId, useState } from "react";
import { useSearchParams } from "wouter";
import { addressOf, type FilterField, filtersOf } from "../filters";
import { words } from "../format";

interface Props {
  fields: readonly FilterField[];
  /** So many are always seen, the others behind a button. */
  first: number;
  metadata?: boolean;
}

export function Filters({ fields, first, metadata = false }: Props) {
  const [address, setAddress] = useSearchParams();
  const filters = filtersOf(address, fields);
  const [unfolded, setUnfolded] = useState(() => fields.slice(first).some((field) => filters[field.name]));
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    setAddress(addressOf(new FormData(event.currentTarget)));
  };
  const without = (name: string) => {
    const rest = new URLSearchParams(address);
    rest.delete(name);
    rest.delete("after");
    setAddress(rest);
  };
  return (
    <search>
      <form className="filters" onSubmit={submit} key={address.toString()}>
        {fields.map((field, index) => (
          <Field key={field.name} field={field} value={filters[field.name]} hidden={index >= first && !unfolded} />
        ))}
        {metadata && <MetadataField filters={filters} hidden={!unfolded} />}
        <div className="filter-buttons">
          <button type="submit" className="primary">
            Search
          </button>
          {fields.length > first && (
            <button type="button" aria-expanded={unfolded} onClick={() => setUnfolded(!unfolded)}>
              {unfolded ? "Fewer filters" : "More filters"}
            </button>
          )}
        </div>
      </form>
      {Object.keys(filters).length > 0 && (
        <ul className="chips" aria-label="Filters that are set">
          {Object.entries(filters).map(([name, value]) => (
            <li key={name}>
              <button type="button" onClick={() => without(name)} aria-label={`Remove the filter ${name} ${value}`}>
                {words(name)} <b>{value}</b> <span aria-hidden="true">×</span>
              </button>
            </li>
          ))}
        </ul>
      )}
    </search>
  );
}

function Field({ field, value = "", hidden }: { field: FilterField; value: string | undefined; hidden: boolean }) {
  const id = useId();
  const time = field.kind === "time";
  return (
    <div hidden={hidden}>
      <label htmlFor={id}>
        <span>{field.label}</span>
      </label>
      {field.options ? (
        <select id={id} name={field.name} defaultValue={value}>
          <option value="">Any</option>
          {field.options.map((option) => (
            <option key={option} value={option}>
              {words(option)}
            </option>
          ))}
        </select>
      ) : (
        <input
          id={id}
          name={field.name}
          defaultValue={value}
          type={time ? "datetime-local" : "text"}
          step={time ? 1 : undefined}
          placeholder={field.placeholder}
          autoComplete="off"
          spellCheck={false}
        />
      )}
    </div>
  );
}

function MetadataField({ filters, hidden }: { filters: Record<string, string>; hidden: boolean }) {
  const [name = "", value = ""] = Object.entries(filters).find(([each]) => each.startsWith("metadata[")) ?? [];
  return (
    <fieldset hidden={hidden}>
      <legend>Metadata</legend>
      <input name="metadata_key" aria-label="Metadata key" defaultValue={name.slice(9, -1)} placeholder="order_id" />
      <input name="metadata_value" aria-label="Metadata value" defaultValue={value} placeholder="1042" />
    </fieldset>
  );
}
