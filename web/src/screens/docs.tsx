// All endpoints, from the description that the service gives of itself.

import { get, root, type Facts } from "../api";
import { t } from "../i18n";
import { Waiting } from "../parts/waiting";
import { useLoaded } from "../state";

interface Parameter {
  name: string;
  in: string;
  required: boolean;
  description?: string;
  schema: Record<string, unknown>;
}

interface Operation {
  summary: string;
  parameters: Parameter[];
  requestBody?: unknown;
}

type Document = { paths: Record<string, Record<string, Operation>> };

export function DocsScreen({ facts }: { facts: Facts }) {
  const found = useLoaded((signal) => get<Document>(`${root}/openapi.json`, signal), []);
  return (
    <main id="content" class="page docs">
      <h1>{t("docs")}</h1>
      <p class="summary">
        {t("docs_text")} <a href={`${root}/openapi.json`}>openapi.json</a>
      </p>
      <Waiting found={found} />
      {Object.entries(found.value?.paths ?? {}).flatMap(([path, methods]) =>
        Object.entries(methods).map(([method, one]) => (
          <details key={method + path}>
            <summary>
              <span class={`method ${method}`}>{method.toUpperCase()}</span>
              <code>{path.replace("{name}", facts.name)}</code>
              <span class="told">{one.summary}</span>
            </summary>
            <dl class="lines">
              {one.parameters
                .filter((parameter) => parameter.in === "query")
                .map((parameter) => (
                  <div key={parameter.name}>
                    <dt>
                      <code>{parameter.name}</code>
                      {parameter.required && " *"}
                    </dt>
                    <dd>
                      {parameter.description} <span class="told">{typeOf(parameter.schema)}</span>
                    </dd>
                  </div>
                ))}
              {one.requestBody !== undefined && (
                <div>
                  <dt>body</dt>
                  <dd>JSON, a form, or a file as it is</dd>
                </div>
              )}
            </dl>
          </details>
        )),
      )}
    </main>
  );
}

function typeOf(schema: Record<string, unknown>): string {
  const options = (schema.anyOf as Record<string, unknown>[] | undefined)?.filter((one) => one.type !== "null");
  const one = options?.[0] ?? schema;
  const range = [one.minimum, one.maximum].some((edge) => edge !== undefined)
    ? ` ${one.minimum ?? "…"}–${one.maximum ?? "…"}`
    : "";
  return one.type === undefined ? "" : `${one.type}${range}`;
}
