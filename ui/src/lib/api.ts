/** Requests to the program. An answer other than 2xx, or none, becomes an `ApiError` that says what to try. */

export interface FieldError {
  field: string;
  message_fr: string;
  message_en: string;
}

export type Trouble = 'offline' | 'timeout' | 'refused' | 'unreadable';

export class ApiError extends Error {
  constructor(
    readonly trouble: Trouble,
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly hint: string,
    readonly fields: FieldError[] = [],
  ) {
    super(detail || title);
    this.name = 'ApiError';
  }
}

const TIMEOUT_MS = 20_000;

export interface Options {
  signal?: AbortSignal;
  method?: string;
  body?: unknown;
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

async function problem(response: Response): Promise<ApiError> {
  let body: Record<string, unknown> = {};
  try {
    const found: unknown = await response.json();
    if (typeof found === 'object' && found !== null) body = found as Record<string, unknown>;
  } catch {
    // Not a problem document: the status has to do.
  }
  const fields = Array.isArray(body['errors']) ? (body['errors'] as FieldError[]) : [];
  return new ApiError('refused', response.status, text(body['title']), text(body['detail']), text(body['hint']), fields);
}

export async function request<T>(path: string, { signal, method, body }: Options = {}): Promise<T> {
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  let response: Response;
  try {
    response = await fetch(path, {
      method: method ?? (body === undefined ? 'GET' : 'POST'),
      headers: { accept: 'application/json', ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(limit.aborted ? 'timeout' : 'offline', 0, '', '', '');
  }
  if (!response.ok) throw await problem(response);
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError('unreadable', response.status, '', '', '');
  }
}

/** `/api/v1` and a query without its empty parts. */
export function api(path: string, query: Record<string, string | number | boolean | null | undefined> = {}): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') search.set(key, String(value));
  }
  const tail = search.toString();
  return `/api/v1${path}${tail ? `?${tail}` : ''}`;
}

export const get = <T>(path: string, query?: Parameters<typeof api>[1], signal?: AbortSignal): Promise<T> =>
  request<T>(api(path, query), signal ? { signal } : {});

export const post = <T>(path: string, body: unknown = {}, signal?: AbortSignal): Promise<T> =>
  request<T>(api(path), { method: 'POST', body, ...(signal ? { signal } : {}) });
