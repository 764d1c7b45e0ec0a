<?php

// A shop's server in PHP: opens checkout sessions, shows a page with the widget, hears
// webhooks and fulfils each order exactly once. Nothing to install:
//
//	php -S localhost:$PORT shop.php

declare(strict_types=1);

ini_set('display_errors', '0'); // never into the page
set_error_handler(function (int $level, string $message, string $file, int $line): bool {
    if (error_reporting() & $level) {
        throw new ErrorException($message, 0, $level, $file, $line);
    }
    return true;
});

function setting(string $name, ?string $default = null): string
{
    $value = getenv($name);
    if (is_string($value) && $value !== '') {
        return $value;
    }
    if ($default !== null) {
        return $default;
    }
    throw new RuntimeException("$name is not set");
}

// ---- orders: one file each, replaced as a whole; a shop has a database

function path(string $reference): string
{
    return setting('ORDERS', __DIR__ . '/orders') . "/$reference.json";
}

function load(string $reference): ?array
{
    if (!preg_match('/\A[A-Za-z0-9._-]{1,64}\z/', $reference) || !is_file(path($reference))) {
        return null;
    }
    return json_decode(file_get_contents(path($reference)), true, 16, JSON_THROW_ON_ERROR);
}

function save(array $order): void
{
    $new = path($order['reference']) . '.new';
    $file = fopen($new, 'w');
    $text = json_encode($order, JSON_THROW_ON_ERROR);
    if (!$file || fwrite($file, $text) !== strlen($text) || !fsync($file) || !fclose($file) || !rename($new, path($order['reference']))) {
        throw new RuntimeException('the order could not be saved');
    }
}

// One change of orders at a time, whatever process does it.
function change(callable $work): void
{
    $lock = fopen(setting('ORDERS', __DIR__ . '/orders') . '/lock', 'c');
    if (!$lock || !flock($lock, LOCK_EX)) {
        throw new RuntimeException('the orders could not be locked');
    }
    try {
        $work();
    } finally {
        fclose($lock);
    }
}

function newOrder(): array
{
    $order = [
        'reference' => 'order-' . bin2hex(random_bytes(8)), 'amount' => 39.0, 'currency' => 'EUR',
        'status' => 'open', 'revision' => 0, 'fulfilled' => 0, 'events' => [],
    ];
    change(fn () => save($order));
    return $order;
}

// ---- the BFF

// Safe to repeat: the same reference and body give the same session.
function openSession(array $order): array
{
    $home = setting('SHOP_URL', 'http://localhost:' . setting('PORT', '3000'));
    $answer = file_get_contents(setting('BFF_API') . '/v1/sessions', false, stream_context_create(['http' => [
        'method' => 'POST',
        'header' => ['Authorization: Bearer ' . setting('MERCHANT_KEY'), 'Content-Type: application/json'],
        'content' => json_encode([
            'reference_id' => $order['reference'],
            'amount' => $order['amount'],
            'currency' => $order['currency'],
            'description' => 'Lamp Kobza',
            'return_url' => "$home/?order={$order['reference']}",
        ], JSON_THROW_ON_ERROR),
        'timeout' => 10,
        'ignore_errors' => true,
    ]]));
    $session = json_decode((string) $answer, true);
    if (!isset($session['token'])) {
        throw new RuntimeException("open session: $answer");
    }
    return $session;
}

// Standard Webhooks by hand. With the library
// (composer require standard-webhooks/standard-webhooks) it is
//
//	(new \StandardWebhooks\Webhook($secret))->verify($body, $headers)
function isSigned(string $secret, array $headers, string $body, int $now): bool
{
    [$id, $timestamp] = [$headers['webhook-id'], $headers['webhook-timestamp']];
    if ($id === '' || !preg_match('/\A[0-9]{1,15}\z/', $timestamp) || abs($now - (int) $timestamp) > 300) {
        return false; // incomplete, too old, or from the future
    }
    $key = base64_decode(str_starts_with($secret, 'whsec_') ? substr($secret, 6) : $secret, true);
    if ($key === false || $key === '') {
        throw new RuntimeException('WEBHOOK_SECRET is not whsec_ and base64');
    }
    $want = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
    // While secrets are being changed there are several signatures.
    $fits = false;
    foreach (explode(' ', $headers['webhook-signature']) as $signature) {
        $fits = hash_equals($want, $signature) || $fits;
    }
    return $fits;
}

// Applies one webhook. What the event does and that it was heard are written in one step,
// so that it counts once, however often it comes and wherever the shop crashes.
function hear(string $id, array $event): void
{
    change(function () use ($id, $event) {
        $order = load($event['data']['reference_id']);
        if (!$order || in_array($id, $order['events'], true)) {
            return;
        }
        $order['events'][] = $id;
        if ($event['data']['revision'] > $order['revision']) {
            $order['revision'] = $event['data']['revision'];
            $order['status'] = $event['data']['status'];
        }
        if ($event['type'] === 'session.paid' && !$order['fulfilled']) {
            $order['fulfilled']++; // whoever packs lamps reads this
            error_log("fulfil {$order['reference']}");
        }
        save($order);
    });
}

// ---- HTTP

function send(int $status, string $type, string $text): void
{
    http_response_code($status);
    header("Content-Type: $type");
    header('Cache-Control: no-store');
    echo $text;
}

function json(array $value): void
{
    send(200, 'application/json', json_encode($value, JSON_THROW_ON_ERROR));
}

function page(array $order, array $session): string
{
    $e = fn ($text) => htmlspecialchars((string) $text, ENT_QUOTES);
    return <<<HTML
        <!doctype html>
        <html lang="en">
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width">
        <title>Lamp shop</title>
        <h1>Lamp “Kobza”, €39.00</h1>
        <p>Order {$e($order['reference'])}: {$e($order['status'])}</p>
        <div id="pay"></div>
        <script async src="{$e(setting('BFF_PUBLIC_URL'))}/widget/v1/checkout.js" data-session="{$e($session['token'])}" data-target="#pay"></script>
        </html>
        HTML;
}

function answer(): void
{
    $path = (string) parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
    $what = $_SERVER['REQUEST_METHOD'] . ' /' . explode('/', $path)[1];
    switch ($what) {
        case 'GET /':
            $reference = $_GET['order'] ?? '';
            $order = (is_string($reference) ? load($reference) : null) ?? newOrder();
            send(200, 'text/html; charset=utf-8', page($order, openSession($order)));
            return;
        case 'POST /session': // for pages built apart: examples/react, vue, svelte, html
            $order = newOrder();
            json(['order' => $order['reference'], 'base' => setting('BFF_PUBLIC_URL'), 'session' => openSession($order)['token']]);
            return;
        case 'GET /orders':
            $order = load(explode('/', $path)[2] ?? '');
            if ($order) {
                json(['order' => $order['reference'], 'status' => $order['status'], 'fulfilled' => $order['fulfilled']]);
                return;
            }
            break;
        case 'POST /webhook':
            $body = (string) file_get_contents('php://input', false, null, 0, 1 << 20);
            $headers = [];
            foreach (['webhook-id', 'webhook-timestamp', 'webhook-signature'] as $name) {
                $headers[$name] = $_SERVER['HTTP_' . strtoupper(strtr($name, '-', '_'))] ?? '';
            }
            if (!isSigned(setting('WEBHOOK_SECRET'), $headers, $body, time())) {
                send(401, 'text/plain', "not signed by the BFF\n");
                return;
            }
            hear($headers['webhook-id'], json_decode($body, true, 16, JSON_THROW_ON_ERROR));
            http_response_code(204);
            return;
    }
    send(404, 'text/plain', "not found\n");
}

try {
    $orders = setting('ORDERS', __DIR__ . '/orders');
    is_dir($orders) || @mkdir($orders, 0700, true);
    answer();
} catch (Throwable $err) {
    error_log($err->getMessage()); // the BFF sends a webhook again that was answered with 500
    send(500, 'text/plain', "the shop has a problem\n");
}
